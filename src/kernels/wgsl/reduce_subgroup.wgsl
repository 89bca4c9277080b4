// Sums over a workgroup by subgroups first, their totals through workgroup memory (T1). Any subgroup size from 4.
enable subgroups;
requires subgroup_id;

struct Lane {
  @builtin(local_invocation_index) index: u32,
  @builtin(subgroup_invocation_id) in_subgroup: u32,
  @builtin(subgroup_id) subgroup: u32,
  @builtin(num_subgroups) n_subgroups: u32,
}

var<workgroup> reduce_parts: array<vec4<f32>, WORKGROUP_SIZE / 4u>;

// The sum of every invocation's `value`, known to all of them.
fn workgroup_sum(value: vec4<f32>, lane: Lane) -> vec4<f32> {
  let part = subgroupAdd(value);
  if (lane.in_subgroup == 0u) {
    reduce_parts[lane.subgroup] = part;
  }
  workgroupBarrier();
  var total = vec4<f32>();
  for (var i = 0u; i < lane.n_subgroups; i++) {
    total += reduce_parts[i];
  }
  workgroupBarrier();
  return total;
}
