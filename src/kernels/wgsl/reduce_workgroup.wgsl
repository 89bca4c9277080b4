// Sums over a workgroup through its memory: every tier has it. WORKGROUP_SIZE is a power of two.
struct Lane {
  @builtin(local_invocation_index) index: u32,
}

var<workgroup> reduce_parts: array<vec4<f32>, WORKGROUP_SIZE>;

// The sum of every invocation's `value`, known to all of them.
fn workgroup_sum(value: vec4<f32>, lane: Lane) -> vec4<f32> {
  reduce_parts[lane.index] = value;
  workgroupBarrier();
  for (var width = WORKGROUP_SIZE / 2u; width > 0u; width /= 2u) {
    if (lane.index < width) {
      reduce_parts[lane.index] += reduce_parts[lane.index + width];
    }
    workgroupBarrier();
  }
  let total = reduce_parts[0];
  workgroupBarrier();
  return total;
}
