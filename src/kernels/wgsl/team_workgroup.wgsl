// A team of invocations that sum together: the whole workgroup, through its memory. Every tier has it.
struct Lane {
  @builtin(local_invocation_index) in_team: u32,
}

var<workgroup> team_parts: array<vec4<f32>, WORKGROUP_SIZE>;

// Component i of the team's sum, in its invocation i < 4.
fn team_sum(value: vec4<f32>, lane: Lane) -> f32 {
  team_parts[lane.in_team] = value;
  workgroupBarrier();
  var total = 0.0;
  if (lane.in_team < 4u) {
    for (var i = 0u; i < WORKGROUP_SIZE; i++) {
      total += team_parts[i][lane.in_team];
    }
  }
  workgroupBarrier();
  return total;
}

fn team_size(lane: Lane) -> u32 { return WORKGROUP_SIZE; }
fn team_first(lane: Lane) -> u32 { return 0u; }
fn team_count(lane: Lane) -> u32 { return 1u; }
