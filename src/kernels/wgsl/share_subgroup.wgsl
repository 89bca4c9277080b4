// SHARES neighbours of a subgroup, a power of two, to a row of a head's state.
enable subgroups;
requires subgroup_id;

struct Lane {
  @builtin(subgroup_invocation_id) in_subgroup: u32,
  @builtin(subgroup_id) subgroup: u32,
  @builtin(subgroup_size) subgroup_size: u32,
}

fn lane_index(lane: Lane) -> u32 { return lane.subgroup * lane.subgroup_size + lane.in_subgroup; }

// Known to each of them, in the same bits. Up to 16 of them, step by step: a loop would be left one, with a count of its turns.
fn share_sum(value: f32) -> f32 {
  var sum = value;
  if (SHARES > 1u) {
    sum += subgroupShuffleXor(sum, 1u);
  }
  if (SHARES > 2u) {
    sum += subgroupShuffleXor(sum, 2u);
  }
  if (SHARES > 4u) {
    sum += subgroupShuffleXor(sum, 4u);
  }
  if (SHARES > 8u) {
    sum += subgroupShuffleXor(sum, 8u);
  }
  return sum;
}

fn share_sum2(value: vec2<f32>) -> vec2<f32> {
  var sum = value;
  if (SHARES > 1u) {
    sum += subgroupShuffleXor(sum, 1u);
  }
  if (SHARES > 2u) {
    sum += subgroupShuffleXor(sum, 2u);
  }
  if (SHARES > 4u) {
    sum += subgroupShuffleXor(sum, 4u);
  }
  if (SHARES > 8u) {
    sum += subgroupShuffleXor(sum, 8u);
  }
  return sum;
}

fn share_sum4(value: vec4<f32>) -> vec4<f32> {
  var sum = value;
  if (SHARES > 1u) {
    sum += subgroupShuffleXor(sum, 1u);
  }
  if (SHARES > 2u) {
    sum += subgroupShuffleXor(sum, 2u);
  }
  if (SHARES > 4u) {
    sum += subgroupShuffleXor(sum, 4u);
  }
  if (SHARES > 8u) {
    sum += subgroupShuffleXor(sum, 8u);
  }
  return sum;
}
