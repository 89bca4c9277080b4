// What the shaders of the time mix are given, and what they make of four channels of a token before the recurrence:
//   w = exp(-exp(-1/2) sigmoid(w0 + up_w));  a = sigmoid(a0 + up_a);  v = v + (v_first - v) sigmoid(v0 + up_v)
//   kk = k k_k / |k k_k|;  k = k (1 + (a - 1) k_a)
//@import act
//@import step
//@import control

struct Immediates {
  n_embd: u32,
  stride: u32,  // of the rows of r_k_v, up, v_first, gated
  first_layer: u32,
  epsilon: f32,  // of the group norm
}

alias Act4 = vec4<Act>;
@group(0) @binding(2) var<storage, read> r_k_v: array<Act4>;          // [3, TOKENS_MAX, stride / 4]
@group(0) @binding(3) var<storage, read> up: array<Act4>;             // w a v g: [4, TOKENS_MAX, stride / 4]
@group(0) @binding(4) var<storage, read_write> v_first: array<Act4>;   // [TOKENS_MAX, stride / 4]
@group(0) @binding(5) var<storage, read> vectors: array<vec4<f32>>;   // w0 a0 v0 k_k k_a r_k ln_x: [8, n_embd / 4]
var<immediate> immediates: Immediates;

const EXP_MINUS_HALF = 0.6065306597126334;
const KEY_NORM_EPSILON = 1e-12;

// Of four key channels.
struct Keys {
  r: vec4<f32>,
  w: vec4<f32>,
  k: vec4<f32>,
  kk: vec4<f32>,  // not yet normalised
  a: vec4<f32>,
  sums: vec2<f32>,  // of kk^2 and of the bonus r * k * r_k
}

fn sigmoid4(values: vec4<f32>) -> vec4<f32> { return 1.0 / (1.0 + exp(-values)); }

fn vector_at(index: u32, quad: u32) -> vec4<f32> { return vectors[index * (immediates.n_embd / 4u) + quad]; }

// A plane of r_k_v or up begins at so many quads.
fn plane(index: u32) -> u32 { return index * TOKENS_MAX * (immediates.stride / 4u); }

// The first quad of a token.
fn row_of(token: u32) -> u32 { return token * (immediates.stride / 4u); }

// row: the token's first quad; quad: of the vectors.
fn keys_at(row: u32, quad: u32) -> Keys {
  let here = row + quad;
  let r = vec4<f32>(r_k_v[here]);
  let key = vec4<f32>(r_k_v[plane(1u) + here]);
  let w = exp(-EXP_MINUS_HALF * sigmoid4(vector_at(0u, quad) + vec4<f32>(up[here])));
  let a = sigmoid4(vector_at(1u, quad) + vec4<f32>(up[plane(1u) + here]));
  let k = key * (1.0 + (a - 1.0) * vector_at(4u, quad));
  let kk = key * vector_at(3u, quad);
  return Keys(r, w, k, kk, a, vec2(dot(kk, kk), dot(r * k, vector_at(5u, quad))));
}

// Four value channels. Without a branch, so that all loads are on their way at once: the first layer discards what it mixed.
fn values_at(row: u32, quad: u32) -> vec4<f32> {
  let here = row + quad;
  let v = vec4<f32>(r_k_v[plane(2u) + here]);
  let share = sigmoid4(vector_at(2u, quad) + vec4<f32>(up[plane(2u) + here]));
  let mixed = v + (vec4<f32>(v_first[here]) - v) * share;
  return select(mixed, v, immediates.first_layer == 1u);
}

fn inverse_key_norm(squares: f32) -> f32 { return 1.0 / max(sqrt(squares), KEY_NORM_EPSILON); }
