// Embedding rows, normalised: x = layer_norm(emb[id]; ln0). One workgroup: one token. The table may be bound in windows of
// rows (one dispatch each); a token outside this one's window is another dispatch's. Oracle: embed_ref.cpp.
//@import step
//@import control
//@import format
//@import rows
//@const WORKGROUP_SIZE 128
// Octets of the row that an invocation keeps.
//@const EACH 3
//@import reduce

struct Immediates {
  n_embd: u32,
  epsilon: f32,
  n_vocab: u32,
  row_begin: u32,  // the window
  row_end: u32,
  row_words: u32,
  weight_offset: u32,  // words, of row_begin
}

// A token id that stands for "what was sampled last in this slot".
const FEEDBACK = 0xffffffffu;

@group(0) @binding(2) var<storage, read> weights: array<vec4<u32>>;  // the window's rows
@group(0) @binding(3) var<storage, read> vectors: array<f32>;   // weight, bias: [2, n_embd]
@group(0) @binding(4) var<storage, read_write> x: array<f32>;   // [token, n_embd]
var<immediate> immediates: Immediates;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(lane: Lane, @builtin(workgroup_id) workgroup: vec3<u32>) {
  let token = workgroup.x;
  if (token >= step_n_tokens()) {
    return;
  }
  var id = step_token_id(token);
  if (id == FEEDBACK) {
    id = control_word(step_chunk(step_chunk_of(token)).slot, CONTROL_NEXT_TOKEN);
  }
  id = min(id, immediates.n_vocab - 1u);
  if (id < immediates.row_begin || id >= immediates.row_end) {
    return;
  }
  let n_embd = immediates.n_embd;
  let row = immediates.weight_offset + row_at(id - immediates.row_begin, immediates.row_words);
  var octets: array<Octet, EACH>;
  var sum = 0.0;
  for (var i = 0u; i < EACH; i++) {
    let k = (lane.index + i * WORKGROUP_SIZE) * 8u;
    if (k < n_embd) {
      octets[i] = decode8(row, n_embd, k);
    }
    sum += dot(octets[i].low, vec4(1.0)) + dot(octets[i].high, vec4(1.0));
  }
  let mean = workgroup_sum(vec4(sum, 0.0, 0.0, 0.0), lane).x / f32(n_embd);
  var squares = 0.0;
  for (var i = 0u; i < EACH; i++) {
    let k = (lane.index + i * WORKGROUP_SIZE) * 8u;
    octets[i] = Octet(octets[i].low - mean, octets[i].high - mean);
    for (var j = 0u; j < 8u; j++) {
      let difference = octet_at(octets[i], j);
      squares += select(0.0, difference * difference, k + j < n_embd);
    }
  }
  let variance = workgroup_sum(vec4(squares, 0.0, 0.0, 0.0), lane).x / f32(n_embd);
  let scale = 1.0 / sqrt(variance + immediates.epsilon);
  for (var i = 0u; i < EACH; i++) {
    for (var j = 0u; j < 8u; j++) {
      let d = (lane.index + i * WORKGROUP_SIZE) * 8u + j;
      if (d < n_embd) {
        x[token * n_embd + d] = octet_at(octets[i], j) * scale * vectors[d] + vectors[n_embd + d];
      }
    }
  }
}
