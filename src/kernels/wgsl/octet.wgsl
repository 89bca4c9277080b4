// What every weight format gives. row: the row's first word in `weights`, a multiple of 4; n_in: weights per row. Row layouts
// are those of kernels/weight_layout.hpp.
// Eight consecutive weights, the first one k, a multiple of 8:
//   fn decode8(row: u32, n_in: u32, k: u32) -> Octet
// For products, a unit of 32 weights, which is read and decoded in two steps so that other work fits between them. Its four
// octets lie where unit_k says, within the same 64 weights, which a unit shares with its neighbour; those past the end are
// zero.
//   alias Unit
//   fn load_unit(row: u32, n_in: u32, unit: u32) -> Unit
//   fn unit_octet(unit: Unit, i: u32) -> Octet
//   fn unit_k(unit: u32, i: u32) -> u32
struct Octet {
  low: vec4<f32>,
  high: vec4<f32>,
}

// Four bytes of a word as numbers.
fn signed_bytes(word: u32) -> vec4<f32> { return vec4<f32>(unpack4xI8(word)); }
fn unsigned_bytes(word: u32) -> vec4<f32> { return vec4<f32>(unpack4xU8(word)); }

fn octet_at(weight: Octet, i: u32) -> f32 { return select(weight.high[i & 3u], weight.low[i & 3u], i < 4u); }

fn dot8(a: Octet, b: Octet) -> f32 { return dot(a.low, b.low) + dot(a.high, b.high); }
