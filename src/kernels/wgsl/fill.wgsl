// Memory full of a pattern, for measuring: word i holds the bits of i * FACTOR that are in `mask`. One invocation: 16
// bytes. Grid: workgroups of 256 in x and y. Oracle: pattern_sum in limits.cpp.
const WORKGROUP_SIZE = 256u;
const FACTOR = 2654435761u;

struct Immediates {
  n_quads: u32,
  mask: u32,
}

@group(0) @binding(0) var<storage, read_write> words: array<vec4<u32>>;
var<immediate> immediates: Immediates;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let quad = (workgroup.x + workgroup.y * grid.x) * WORKGROUP_SIZE + lane;
  if (quad < immediates.n_quads) {
    words[quad] = ((quad * 4u + vec4(0u, 1u, 2u, 3u)) * FACTOR) & vec4(immediates.mask);
  }
}
