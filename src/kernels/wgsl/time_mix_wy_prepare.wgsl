// The recurrence of time_mix.wgsl, a block of BLOCK tokens at once, on subgroup matrices (T2): what does not depend on the state
// (the WY representation of the block's updates, as for the delta rule). With W_t the product of the block's decays up to token t,
// per key channel, and as rows of matrices [token, key channel]
//   alpha_t = W_(t-1) kk_t,  rho_t = W_t r_t,  beta_t = kk_t a_t / W_t,  kappa_t = k_t / W_t
// and S the state before the block, what is removed and what is read are, as columns of matrices [value channel, token],
//   P = S alpha^T - P A + V B,  Y = S rho^T - P C + V D
//   A = beta alpha^T,  B = kappa alpha^T  (for s < t),  C = beta rho^T,  D = kappa rho^T  (for s <= t)
// Without P on the right: with T = (I + A)^-1, which forward substitution finds, and G = B T,
//   alpha <- T^T alpha,  rho <- rho - C^T alpha,  kappa <- kappa - G beta,  D <- D - G C
//   P = S alpha^T,  Y = S rho^T + V D,  S <- (S - P beta + V kappa) diag(W)
// so that time_mix_wy.wgsl has a chain of two products for a block. Decays are at least exp(-exp(-1/2)): with W taken from the
// middle of a block of 16 all that goes into f16 is within a factor of 128 of what it was made of; r and k have their norms apart.
// C and D at s = t are kk a . r and k . r, which are summed in f32: of a text's first token there is nothing else, and the group norm
// magnifies what is left where k . r nearly vanishes.
// One workgroup: a block of a head. Grid: x: heads, y: chunks, z: blocks of a chunk. Oracle: time_mix_ref.cpp.
enable f16;
enable chromium_experimental_subgroup_matrix;
diagnostic(off, chromium.subgroup_matrix_uniformity);
//@import time_mix_inputs
//@import wy
// Neighbours to a token: each has an octet of key channels, two quads.
//@const SHARES 8
//@const QUADS_EACH 2
//@import share_subgroup

@group(0) @binding(6) var<storage, read_write> blocks: array<vec4<u32>>;  // [block of a chunk, head, RECORD]

const WORKGROUP_SIZE = BLOCK * SHARES;
const NORM_MIN = 1e-20;

// Octets of f16, rows of OCTETS; in the end two of them hold sums in f32.
const ALPHA = 0u;
const BETA = BLOCK * STRIDE;
const RHO = 2u * BLOCK * STRIDE;
const KAPPA = 3u * BLOCK * STRIDE;
var<workgroup> rows: array<vec4<u32>, 4u * BLOCK * STRIDE>;
// Products of decays, of each subgroup's tokens; then sums: A C B D, then [token, key channel].
var<workgroup> sums: array<vec4<f32>, BLOCK * QUADS>;
var<workgroup> d: array<vec4<f32>, MATRIX / 4u>;
// Matrices [s, t] of octets of f16: B, then D; C; T, then -G.
const B = 0u;
const C = MATRIX / 8u;
const T = 2u * MATRIX / 8u;
var<workgroup> matrices: array<vec4<u32>, 3u * MATRIX / 8u>;
var<workgroup> norms: array<vec2<f32>, BLOCK>;      // of r and k
var<workgroup> diagonals: array<vec2<f32>, BLOCK>;  // of C and D

fn octet(first: vec4<f32>, second: vec4<f32>) -> vec4<u32> { return vec4(finite_halves(first), finite_halves(second)); }

// A C B D, one to each subgroup.
fn multiply_rows(subgroup: u32) {
  let left_at = select(KAPPA, BETA, subgroup < 2u);
  let right_at = select(RHO, ALPHA, subgroup % 2u == 0u);
  var product: Sums;
  //@repeat K KEY_MATRICES
  product = subgroupMatrixMultiplyAccumulate(subgroupMatrixLoad<Left, row_major>(&rows, left_at + $Ku * 2u, STRIDE),
                                             subgroupMatrixLoad<Right, col_major>(&rows, right_at + $Ku * 2u, STRIDE), product);
  //@end
  subgroupMatrixStore<row_major>(&sums, subgroup * MATRIX / 4u, product, BLOCK / 4u);
}

// Of each matrix what is above the diagonal, or on it; a subgroup has one, an invocation half a row of it.
fn mask_rows(subgroup: u32, in_subgroup: u32) {
  let s = in_subgroup / 2u;
  let t = vec4(in_subgroup % 2u * 8u) + vec4(0u, 1u, 2u, 3u);
  let at = subgroup * MATRIX / 4u + in_subgroup * 2u;
  let of_rho = vec4(subgroup % 2u == 1u);
  let last = vec4(s) + select(vec4(1u), vec4(0u), of_rho);
  let norm = select(1.0, norms[s].y, subgroup >= 2u);
  //@repeat Q QUADS_EACH
  let t_$Q = t + $Qu * 4u;
  let norm_$Q = norm * select(vec4(1.0), vec4(norms[t_$Q.x].x, norms[t_$Q.y].x, norms[t_$Q.z].x, norms[t_$Q.w].x), of_rho);
  var quad_$Q = select(vec4<f32>(), sums[at + $Qu] * norm_$Q, t_$Q >= last);
  quad_$Q = select(quad_$Q, vec4(select(diagonals[s].x, diagonals[s].y, subgroup == 3u)), of_rho & (t_$Q == vec4(s)));
  if (subgroup == 0u) {
    sums[at + $Qu] = quad_$Q;
  } else if (subgroup == 3u) {
    d[in_subgroup * 2u + $Qu] = quad_$Q;
  }
  //@end
  if (subgroup == 1u || subgroup == 2u) {
    matrices[select(B, C, subgroup == 1u) + in_subgroup] = octet(quad_0, quad_1);
  }
}

// A row of T = (I + A)^-1.
fn substitute(row: u32) {
  //@repeat R QUARTER
  var x_$R = select(vec4<f32>(), vec4(1.0), vec4(row) == vec4($Ru * 4u) + vec4(0u, 1u, 2u, 3u));
  //@end
  // Element s is what it will be once those before it have been through here.
  //@repeat R QUARTER
  //@repeat E QUARTER
  {
    let x = x_$R[$E];
    let s = $Ru * 4u + $Eu;
    x_0 -= x * sums[s * 4u];
    x_1 -= x * sums[s * 4u + 1u];
    x_2 -= x * sums[s * 4u + 2u];
    x_3 -= x * sums[s * 4u + 3u];
  }
  //@end
  //@end
  matrices[T + row * 2u] = octet(x_0, x_1);
  matrices[T + row * 2u + 1u] = octet(x_2, x_3);
}

// alpha <- T^T alpha, a subgroup's part of the key channels; G.
fn multiply_by_inverse(subgroup: u32) {
  let product = subgroupMatrixMultiplyAccumulate(subgroupMatrixLoad<Left, col_major>(&matrices, T, 2u),
                                                 subgroupMatrixLoad<Right, row_major>(&rows, ALPHA + subgroup * 2u, STRIDE), Sums());
  subgroupMatrixStore<row_major>(&sums, subgroup * 4u, product, QUADS);
  if (subgroup == 0u) {
    let g = subgroupMatrixMultiplyAccumulate(subgroupMatrixLoad<Left, row_major>(&matrices, B, 2u),
                                             subgroupMatrixLoad<Right, row_major>(&matrices, T, 2u), Sums());
    subgroupMatrixStore<row_major>(&rows, RHO, g, BLOCK / 4u);
  }
}

// C^T alpha in the rows of rho and kappa, -G beta in `sums`, D - G C.
fn multiply_changes(subgroup: u32) {
  let c = subgroupMatrixLoad<Left, col_major>(&matrices, C, 2u);
  let g = subgroupMatrixLoad<Left, row_major>(&matrices, T, 2u);
  let of_rho = subgroupMatrixMultiplyAccumulate(c, subgroupMatrixLoad<Right, row_major>(&rows, ALPHA + subgroup * 2u, STRIDE), Sums());
  let of_kappa = subgroupMatrixMultiplyAccumulate(g, subgroupMatrixLoad<Right, row_major>(&rows, BETA + subgroup * 2u, STRIDE), Sums());
  subgroupMatrixStore<row_major>(&rows, RHO + subgroup * 4u, of_rho, QUADS);
  subgroupMatrixStore<row_major>(&sums, subgroup * 4u, of_kappa, QUADS);
  if (subgroup == 0u) {
    let of_d = subgroupMatrixMultiplyAccumulate(g, subgroupMatrixLoad<Right, row_major>(&matrices, C, 2u),
                                                subgroupMatrixLoad<Sums, row_major>(&d, 0u, BLOCK / 4u));
    subgroupMatrixStore<row_major>(&d, 0u, of_d, BLOCK / 4u);
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(lane: Lane, @builtin(workgroup_id) workgroup: vec3<u32>) {
  let chunk = step_chunk(workgroup.y);
  let block = workgroup.z;
  if (workgroup.y >= step_n_chunks() || block * BLOCK >= chunk.count) {
    return;
  }
  let head = workgroup.x;
  let index = lane_index(lane);
  let t = index / SHARES;
  let own = index % SHARES;
  let n_tokens = chunk.count - block * BLOCK;
  let there = t < n_tokens;
  let row = row_of(chunk.first + block * BLOCK + min(t, n_tokens - 1u));
  let none = vec4<f32>();
  var squares = none;
  var b_r = 0.0;
  //@repeat Q QUADS_EACH
  let keys_$Q = keys_at(row, head * QUADS + own * 2u + $Qu);
  let v_$Q = values_at(row, head * QUADS + own * 2u + $Qu);
  // A token that is not there leaves the state as it is.
  let w_$Q = select(vec4(1.0), keys_$Q.w, there);
  squares += vec4(keys_$Q.sums.x, dot(keys_$Q.r, keys_$Q.r), dot(keys_$Q.k, keys_$Q.k), dot(keys_$Q.k, keys_$Q.r));
  b_r += dot(keys_$Q.kk * keys_$Q.a, keys_$Q.r);
  if (there && immediates.first_layer == 1u) {
    v_first[row + head * QUADS + own * 2u + $Qu] = Act4(v_$Q);
  }
  // Decays up to the token's own, of those of the subgroup.
  var up_to_$Q = w_$Q;
  up_to_$Q *= select(vec4(1.0), subgroupShuffleUp(up_to_$Q, SHARES), lane.in_subgroup >= SHARES);
  up_to_$Q *= select(vec4(1.0), subgroupShuffleUp(up_to_$Q, 2u * SHARES), lane.in_subgroup >= 2u * SHARES);
  if (lane.in_subgroup >= 3u * SHARES) {
    sums[lane.subgroup * QUADS + own * 2u + $Qu] = up_to_$Q;
  }
  //@end
  squares = share_sum4(squares);
  b_r = share_sum(b_r);
  let kk_norm = inverse_key_norm(squares.x);
  let norm = max(sqrt(squares.yz), vec2(NORM_MIN));
  let inverse_norm = 1.0 / norm;
  if (own == 0u) {
    norms[t] = norm;
    diagonals[t] = select(vec2<f32>(), vec2(b_r * kk_norm, squares.w), there);
  }
  workgroupBarrier();
  // W counts from the middle of the block: products of four tokens each are multiplied or divided by.
  //@repeat Q QUADS_EACH
  let middle_$Q = sums[own * 2u + $Qu] * sums[QUADS + own * 2u + $Qu];
  let end_$Q = sums[2u * QUADS + own * 2u + $Qu] * sums[3u * QUADS + own * 2u + $Qu];
  let of_third_$Q = sums[2u * QUADS + own * 2u + $Qu];
  let of_second_$Q = sums[QUADS + own * 2u + $Qu];
  var offset_$Q = vec4(1.0);
  if (lane.subgroup == 0u) {
    offset_$Q = 1.0 / middle_$Q;
  } else if (lane.subgroup == 1u) {
    offset_$Q = 1.0 / of_second_$Q;
  } else if (lane.subgroup == 3u) {
    offset_$Q = of_third_$Q;
  }
  let product_$Q = up_to_$Q * offset_$Q;
  let inverse_$Q = 1.0 / product_$Q;
  let kk_$Q = keys_$Q.kk * kk_norm;
  let alpha_$Q = select(none, product_$Q / w_$Q * kk_$Q, there);
  let rho_$Q = select(none, product_$Q * keys_$Q.r, there);
  let beta_$Q = select(none, kk_$Q * keys_$Q.a * inverse_$Q, there);
  let kappa_$Q = select(none, keys_$Q.k * inverse_$Q, there);
  //@end
  let at = t * STRIDE + own;
  rows[ALPHA + at] = octet(alpha_0, alpha_1);
  rows[BETA + at] = octet(beta_0, beta_1);
  rows[RHO + at] = octet(rho_0 * inverse_norm.x, rho_1 * inverse_norm.x);
  rows[KAPPA + at] = octet(kappa_0 * inverse_norm.y, kappa_1 * inverse_norm.y);
  workgroupBarrier();
  multiply_rows(lane.subgroup);
  workgroupBarrier();
  mask_rows(lane.subgroup, lane.in_subgroup);
  workgroupBarrier();
  if (index < BLOCK) {
    substitute(index);
  }
  workgroupBarrier();
  multiply_by_inverse(lane.subgroup);
  workgroupBarrier();
  let record = ((chunk.first / BLOCK + workgroup.y + block) * (immediates.n_embd / HEAD_SIZE) + head) * RECORD;
  let sum_at = t * QUADS + own * 2u;
  rows[ALPHA + at] = octet(sums[sum_at], sums[sum_at + 1u]);
  blocks[record + RECORD_ALPHA + index] = octet(sums[sum_at] * middle_0, sums[sum_at + 1u] * middle_1);
  if (lane.subgroup == 0u) {
    matrices[T + index] = octet(-bitcast<vec4<f32>>(rows[RHO + index * 2u]), -bitcast<vec4<f32>>(rows[RHO + index * 2u + 1u]));
  }
  workgroupBarrier();
  multiply_changes(lane.subgroup);
  workgroupBarrier();
  blocks[record + RECORD_RHO + index] = octet((rho_0 - bitcast<vec4<f32>>(rows[RHO + sum_at])) * middle_0,
                                              (rho_1 - bitcast<vec4<f32>>(rows[RHO + sum_at + 1u])) * middle_1);
  blocks[record + RECORD_BETA + index] = octet(beta_0 * end_0, beta_1 * end_1);
  blocks[record + RECORD_KAPPA + index] = octet((kappa_0 + sums[sum_at]) * end_0, (kappa_1 + sums[sum_at + 1u]) * end_1);
  blocks[record + RECORD_V + index] = select(vec4<u32>(), octet(v_0, v_1), there);
  if (lane.subgroup == 0u) {
    blocks[record + RECORD_D + index] = octet(d[index * 2u], d[index * 2u + 1u]);
  }
  if (t == 0u) {
    blocks[record + RECORD_W + own * 2u] = bitcast<vec4<u32>>(middle_0 * end_0);
    blocks[record + RECORD_W + own * 2u + 1u] = bitcast<vec4<u32>>(middle_1 * end_1);
  }
}
