// A team of invocations that sum together: the whole workgroup, its subgroups first (T1), their sums through its memory.
enable subgroups;
requires subgroup_id;

struct Lane {
  @builtin(local_invocation_index) in_team: u32,
  @builtin(subgroup_invocation_id) in_subgroup: u32,
  @builtin(subgroup_id) subgroup: u32,
  @builtin(num_subgroups) n_subgroups: u32,
}

var<workgroup> team_parts: array<vec4<f32>, WORKGROUP_SIZE / 4u>;

// Component i of the team's sum, in its invocation i < 4.
fn team_sum(value: vec4<f32>, lane: Lane) -> f32 {
  let part = subgroupAdd(value);
  if (lane.in_subgroup == 0u) {
    team_parts[lane.subgroup] = part;
  }
  workgroupBarrier();
  var total = 0.0;
  if (lane.in_team < 4u) {
    for (var i = 0u; i < lane.n_subgroups; i++) {
      total += team_parts[i][lane.in_team];
    }
  }
  workgroupBarrier();
  return total;
}

fn team_size(lane: Lane) -> u32 { return WORKGROUP_SIZE; }
fn team_first(lane: Lane) -> u32 { return 0u; }
fn team_count(lane: Lane) -> u32 { return 1u; }
