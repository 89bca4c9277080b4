// Sums over a workgroup through its memory: every tier has it. WORKGROUP_SIZE is a power of two.
// Vectors that are summed at once.
//@const SUMS 1

struct Lane {
  @builtin(local_invocation_index) index: u32,
}

var<workgroup> reduce_parts: array<array<vec4<f32>, SUMS>, WORKGROUP_SIZE>;

// The sums of every invocation's `values`, known to all of them.
fn workgroup_sums(values: array<vec4<f32>, SUMS>, lane: Lane) -> array<vec4<f32>, SUMS> {
  reduce_parts[lane.index] = values;
  workgroupBarrier();
  for (var width = WORKGROUP_SIZE / 2u; width > 0u; width /= 2u) {
    if (lane.index < width) {
      //@repeat S SUMS
      reduce_parts[lane.index][$S] += reduce_parts[lane.index + width][$S];
      //@end
    }
    workgroupBarrier();
  }
  let totals = reduce_parts[0];
  workgroupBarrier();
  return totals;
}

fn workgroup_sum(value: vec4<f32>, lane: Lane) -> vec4<f32> {
  var values: array<vec4<f32>, SUMS>;
  values[0] = value;
  return workgroup_sums(values, lane)[0];
}
