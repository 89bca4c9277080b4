// Sums over a workgroup by subgroups first, their totals through workgroup memory (T1). Any subgroup size from 4.
enable subgroups;
requires subgroup_id;
// Vectors that are summed at once.
//@const SUMS 1

struct Lane {
  @builtin(local_invocation_index) index: u32,
  @builtin(subgroup_invocation_id) in_subgroup: u32,
  @builtin(subgroup_id) subgroup: u32,
  @builtin(num_subgroups) n_subgroups: u32,
}

var<workgroup> reduce_parts: array<array<vec4<f32>, SUMS>, WORKGROUP_SIZE / 4u>;

// The sums of every invocation's `values`, known to all of them.
fn workgroup_sums(values: array<vec4<f32>, SUMS>, lane: Lane) -> array<vec4<f32>, SUMS> {
  //@repeat S SUMS
  let part_$S = subgroupAdd(values[$S]);
  //@end
  if (lane.in_subgroup == 0u) {
    //@repeat S SUMS
    reduce_parts[lane.subgroup][$S] = part_$S;
    //@end
  }
  workgroupBarrier();
  var totals: array<vec4<f32>, SUMS>;
  for (var i = 0u; i < lane.n_subgroups; i++) {
    //@repeat S SUMS
    totals[$S] += reduce_parts[i][$S];
    //@end
  }
  workgroupBarrier();
  return totals;
}

fn workgroup_sum(value: vec4<f32>, lane: Lane) -> vec4<f32> {
  var values: array<vec4<f32>, SUMS>;
  values[0] = value;
  return workgroup_sums(values, lane)[0];
}
