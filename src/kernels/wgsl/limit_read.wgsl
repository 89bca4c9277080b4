// How fast memory is read: one workgroup sums the words of a stretch of LOADS * n_rounds * 256 vectors, of which every
// invocation asks for LOADS at a time. Grid: stretches, in x and y. Oracle: pattern_sum in limits.cpp.
//@const LOADS 8
const WORKGROUP_SIZE = 256u;

struct Immediates {
  n_groups: u32,
  n_rounds: u32,  // no constant: software Vulkan would write the loop out, and compile it for seconds
}

@group(0) @binding(0) var<storage, read> words: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> sums: array<u32>;  // [stretch]
var<immediate> immediates: Immediates;
var<workgroup> total: atomic<u32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let group = workgroup.x + workgroup.y * grid.x;
  if (group >= immediates.n_groups) {
    return;
  }
  var at = group * LOADS * immediates.n_rounds * WORKGROUP_SIZE + lane;
  var sum = vec4<u32>();
  for (var round = 0u; round < immediates.n_rounds; round++) {
    //@repeat L LOADS
    let load_$L = words[at + $Lu * WORKGROUP_SIZE];
    //@end
    //@repeat L LOADS
    sum += load_$L;
    //@end
    at += LOADS * WORKGROUP_SIZE;
  }
  atomicAdd(&total, sum.x + sum.y + sum.z + sum.w);
  workgroupBarrier();
  if (lane == 0u) {
    sums[group] = atomicLoad(&total);
  }
}
