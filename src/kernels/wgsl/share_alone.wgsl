// One invocation to a row of a head's state.
struct Lane {
  @builtin(local_invocation_index) index: u32,
}

fn lane_index(lane: Lane) -> u32 { return lane.index; }
fn share_sum(value: f32) -> f32 { return value; }
fn share_sum2(value: vec2<f32>) -> vec2<f32> { return value; }
