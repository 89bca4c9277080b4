// The states of texts that begin: zero, or those of another slot. Moves bits: f32 or f16 alike.
// Grid: x: stretches of a slot's quads; y: layers; z: chunks. Oracle: the test's own loop.
//@import step
//@const WORKGROUP_SIZE 256
// Quads that an invocation moves.
//@const EACH 8

struct Immediates {
  slot_quads: u32,
  layer_quads: u32,  // from one layer to the next
}

@group(0) @binding(1) var<storage, read_write> states: array<vec4<u32>>;  // [layer][slot, slot_quads]
var<immediate> immediates: Immediates;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) id: vec3<u32>) {
  if (id.z >= step_n_chunks()) {
    return;
  }
  let chunk = step_chunk(id.z);
  if (chunk.after == GOES_ON || chunk.count == 0u) {
    return;
  }
  let layer = id.y * immediates.layer_quads;
  let to = layer + chunk.slot * immediates.slot_quads;
  for (var i = 0u; i < EACH; i++) {
    let at = (id.x * EACH + i) * WORKGROUP_SIZE + lane;
    if (at < immediates.slot_quads) {
      var quad = vec4<u32>();
      if (chunk.after >= AFTER_SLOT) {
        quad = states[layer + (chunk.after - AFTER_SLOT) * immediates.slot_quads + at];
      }
      states[to + at] = quad;
    }
  }
}
