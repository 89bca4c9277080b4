// What every weight format gives: eight consecutive weights of a row.
//   fn decode8(row: u32, n_in: u32, k: u32) -> Octet
// row: the row's first word in `weights`; n_in: weights per row; k: index of the first one, a multiple of 8. Row layouts
// are those of kernels/weight_layout.hpp.
struct Octet {
  low: vec4<f32>,
  high: vec4<f32>,
}

// Four bytes of a word as numbers.
fn signed_bytes(word: u32) -> vec4<f32> { return vec4<f32>(unpack4xI8(word)); }
fn unsigned_bytes(word: u32) -> vec4<f32> { return vec4<f32>(unpack4xU8(word)); }

fn octet_at(weight: Octet, i: u32) -> f32 { return select(weight.high[i & 3u], weight.low[i & 3u], i < 4u); }
