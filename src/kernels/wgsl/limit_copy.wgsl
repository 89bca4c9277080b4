// How fast memory is copied: the lower half of a buffer to its upper one. One workgroup: a stretch of
// LOADS * n_rounds * 256 vectors, of which every invocation asks for LOADS at a time. Grid: stretches, in x and y.
//@const LOADS 8
const WORKGROUP_SIZE = 256u;

struct Immediates {
  n_groups: u32,  // of half the buffer
  n_rounds: u32,  // no constant: software Vulkan would write the loop out, and compile it for seconds
}

@group(0) @binding(0) var<storage, read_write> words: array<vec4<u32>>;
var<immediate> immediates: Immediates;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let group = workgroup.x + workgroup.y * grid.x;
  if (group >= immediates.n_groups) {
    return;
  }
  let to = immediates.n_groups * LOADS * immediates.n_rounds * WORKGROUP_SIZE;
  var at = group * LOADS * immediates.n_rounds * WORKGROUP_SIZE + lane;
  for (var round = 0u; round < immediates.n_rounds; round++) {
    //@repeat L LOADS
    let load_$L = words[at + $Lu * WORKGROUP_SIZE];
    //@end
    //@repeat L LOADS
    words[to + at + $Lu * WORKGROUP_SIZE] = load_$L;
    //@end
    at += LOADS * WORKGROUP_SIZE;
  }
}
