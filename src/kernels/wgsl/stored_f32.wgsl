// The wkv states in memory, [slot, n_head, HEAD_SIZE (i), HEAD_SIZE (j)], read and written by four key channels j: f32.
//@const STATE_BINDING 6
@group(0) @binding(STATE_BINDING) var<storage, read_write> wkv_states: array<vec4<f32>>;

fn state_quad(at: u32) -> vec4<f32> { return wkv_states[at]; }

fn store_state_quad(at: u32, values: vec4<f32>) { wkv_states[at] = values; }
