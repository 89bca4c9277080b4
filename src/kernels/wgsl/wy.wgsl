// What time_mix_wy_prepare.wgsl leaves of a block of tokens for time_mix_wy.wgsl, and their matrices: of 16 x 16, the tokens of a block.
//@const HEAD_SIZE 64
// HEAD_SIZE / 4
//@const QUADS 16
//@const BLOCK 16
// BLOCK / 4, and matrices to a head's key channels.
//@const QUARTER 4
//@const KEY_MATRICES 4

// Octets of f16 but for W; rows [token, key channel], in the end [token, value channel], D [s, t], W the key channels in f32.
const RECORD_ROWS = BLOCK * HEAD_SIZE / 8u;
const RECORD_ALPHA = 0u;
const RECORD_RHO = RECORD_ROWS;
const RECORD_BETA = 2u * RECORD_ROWS;
const RECORD_KAPPA = 3u * RECORD_ROWS;
const RECORD_V = 4u * RECORD_ROWS;
const RECORD_D = 5u * RECORD_ROWS;
const RECORD_W = RECORD_D + MATRIX / 8u;
const RECORD = RECORD_W + HEAD_SIZE / 4u;

// Of rows in workgroup memory, in octets; the odd one spreads them over the banks.
const STRIDE = HEAD_SIZE / 8u + 1u;
const MATRIX = BLOCK * BLOCK;
const F16_LARGEST = 65504.0h;

alias Left = subgroup_matrix_left<f16, 16, 16>;
alias Right = subgroup_matrix_right<f16, 16, 16>;
alias Sums = subgroup_matrix_result<f32, 16, 16>;

// Words are converted at full speed where single f16 are not. What is too large becomes the largest.
fn finite_halves(values: vec4<f32>) -> vec2<u32> {
  let halves = bitcast<vec4<f16>>(vec2(pack2x16float(values.xy), pack2x16float(values.zw)));
  return bitcast<vec2<u32>>(clamp(halves, vec4(-F16_LARGEST), vec4(F16_LARGEST)));
}
