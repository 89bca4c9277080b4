// A team of invocations that sum together: a subgroup (T1). No barriers.
enable subgroups;
requires subgroup_id;
// The loop over a workgroup's teams runs by subgroup_id, the same for all of a subgroup; the analysis does not know it.
diagnostic(off, subgroup_uniformity);

struct Lane {
  @builtin(subgroup_invocation_id) in_team: u32,
  @builtin(subgroup_size) team_size: u32,
  @builtin(subgroup_id) team: u32,
  @builtin(num_subgroups) n_teams: u32,
}

// Component i of the team's sum, in its invocation i < 4.
fn team_sum(value: vec4<f32>, lane: Lane) -> f32 { return subgroupAdd(value)[lane.in_team & 3u]; }

fn team_size(lane: Lane) -> u32 { return lane.team_size; }
fn team_first(lane: Lane) -> u32 { return lane.team; }
fn team_count(lane: Lane) -> u32 { return lane.n_teams; }
