// The recurrence of time_mix.wgsl through the blocks of tokens that time_mix_wy_prepare.wgsl has prepared, on subgroup matrices (T2):
//   P = S alpha^T,  Y = S rho^T + V D,  S <- S diag(w) - P beta + V kappa
// S stays in f32, in registers; the products take it in f16.
// One workgroup: ROWS rows i of S (value channels) of one (chunk, head), as their recurrences do not depend on each other, 16 of them
// to PARTS subgroups: what a block waits for comes one after another, so they share it. Others bring the next block.
// Grid: x: heads times HEAD_SIZE / ROWS, y: chunks. Oracle: time_mix_ref.cpp.
enable f16;
enable chromium_experimental_subgroup_matrix;
diagnostic(off, chromium.subgroup_matrix_uniformity);
//@import step
//@import control
// Subgroups to 16 rows: one finds P, the other Y; each changes half of the key channels.
//@const PARTS 2
//@import wy
//@import stored
enable subgroups;
requires subgroup_id;

struct Immediates {
  n_embd: u32,
}

@group(0) @binding(2) var<storage, read> blocks: array<vec4<u32>>;    // [block of a chunk, head, RECORD]
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;  // S r: [TOKENS_MAX, n_embd / 4]
var<immediate> immediates: Immediates;

const ROWS = 32u;
const SUBGROUP = 32u;
const GROUPS = ROWS / 16u;            // of 16 rows
const ADVANCING = GROUPS * PARTS;     // subgroups
const COPYING = 4u * SUBGROUP;
const WORKGROUP_SIZE = ADVANCING * SUBGROUP + COPYING;

// Of a block, twice: rows of alpha, rho, beta, kappa, of V those of the workgroup, D, w.
const V_STRIDE = ROWS / 8u + 1u;
const RHO = BLOCK * STRIDE;
const BETA = 2u * BLOCK * STRIDE;
const KAPPA = 3u * BLOCK * STRIDE;
const V = 4u * BLOCK * STRIDE;
const D = V + BLOCK * V_STRIDE;
const D_STRIDE = 3u;
const W = D + BLOCK * D_STRIDE;
const BROUGHT = W + QUADS;
var<workgroup> brought: array<vec4<u32>, 2u * BROUGHT>;
// Of 16 rows: S in f16, by quads; -P in f16, [row, token], by quads; sums: at first P, [row, token], and Y, [token, row], then changes
// of S. Strides that spread rows over the banks.
var<workgroup> state: array<vec2<u32>, GROUPS * 16u * 2u * STRIDE>;
const P_STRIDE = 6u;
const SUM_STRIDE = QUADS + 1u;
const SQUARE_STRIDE = 5u;
var<workgroup> removed: array<vec2<u32>, GROUPS * 16u * P_STRIDE>;
var<workgroup> sums: array<vec4<f32>, GROUPS * 16u * SUM_STRIDE>;

// Rows of an invocation: every fourth, all at its quad of key channels.
//@const ROWS_EACH 4
//@repeat R ROWS_EACH
var<private> row_$R: vec4<f32>;
//@end

// What an invocation of the others brings: octets of the four kinds of rows, and one of V, D or w.
//@repeat I QUARTER
var<private> octet_$I: vec4<u32>;
//@end
var<private> last: vec4<u32>;

fn is_value(index: u32) -> bool { return index < BLOCK * ROWS / 8u; }

// Of D and w.
fn rest_of(index: u32) -> u32 {
  return min(index - select(BLOCK * ROWS / 8u, index, is_value(index)), MATRIX / 8u + QUADS - 1u);
}

// row_octet: of the workgroup's first row.
fn fetch(record: u32, row_octet: u32, index: u32) {
  //@repeat I QUARTER
  octet_$I = blocks[record + index + $Iu * COPYING];
  //@end
  let value_at = RECORD_V + index / (ROWS / 8u) * 8u + row_octet + index % (ROWS / 8u);
  last = blocks[record + select(RECORD_D + rest_of(index), value_at, is_value(index))];
}

// Into the half of `brought` that begins there.
fn put(to: u32, index: u32) {
  //@repeat I QUARTER
  brought[to + (index + $Iu * COPYING) / 8u * STRIDE + index % 8u] = octet_$I;
  //@end
  if (is_value(index)) {
    brought[to + V + index / (ROWS / 8u) * V_STRIDE + index % (ROWS / 8u)] = last;
  } else if (index < BLOCK * ROWS / 8u + MATRIX / 8u + QUADS) {
    let rest = rest_of(index);
    brought[to + D + select(rest + BLOCK, rest / 2u * D_STRIDE + rest % 2u, rest < MATRIX / 8u)] = last;
  }
}

// P, or Y.
fn read_state(base: u32, group: u32, part: u32) {
  var product: Sums;
  let rows = base + select(0u, RHO, part == 1u);
  //@repeat K KEY_MATRICES
  product = subgroupMatrixMultiplyAccumulate(
      subgroupMatrixLoad<Left, row_major>(&state, group * 16u * 2u * STRIDE + $Ku * 4u, 2u * STRIDE),
      subgroupMatrixLoad<Right, col_major>(&brought, rows + $Ku * 2u, STRIDE), product);
  //@end
  if (part == 0u) {
    subgroupMatrixStore<row_major>(&sums, group * 16u * SUM_STRIDE, product, SQUARE_STRIDE);
  } else {
    product = subgroupMatrixMultiplyAccumulate(subgroupMatrixLoad<Left, col_major>(&brought, base + V + group * 2u, V_STRIDE),
                                               subgroupMatrixLoad<Right, row_major>(&brought, base + D, D_STRIDE), product);
    subgroupMatrixStore<col_major>(&sums, group * 16u * SUM_STRIDE + 16u * SQUARE_STRIDE, product, SQUARE_STRIDE);
  }
}

// -P beta + V kappa, for a part of the key channels.
fn change_state(base: u32, group: u32, part: u32) {
  let p = subgroupMatrixLoad<Left, row_major>(&removed, group * 16u * P_STRIDE, P_STRIDE);
  let v = subgroupMatrixLoad<Left, col_major>(&brought, base + V + group * 2u, V_STRIDE);
  //@repeat K PARTS
  let matrix_$K = part * PARTS + $Ku;
  let kappa_$K = subgroupMatrixLoad<Right, row_major>(&brought, base + KAPPA + matrix_$K * 2u, STRIDE);
  let beta_$K = subgroupMatrixLoad<Right, row_major>(&brought, base + BETA + matrix_$K * 2u, STRIDE);
  var change_$K = subgroupMatrixMultiplyAccumulate(v, kappa_$K, Sums());
  change_$K = subgroupMatrixMultiplyAccumulate(p, beta_$K, change_$K);
  //@end
  //@repeat K PARTS
  subgroupMatrixStore<row_major>(&sums, group * 16u * SUM_STRIDE + matrix_$K * 4u, change_$K, SUM_STRIDE);
  //@end
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(subgroup_invocation_id) lane: u32, @builtin(subgroup_id) subgroup: u32, @builtin(workgroup_id) workgroup: vec3<u32>) {
  let chunk = step_chunk(workgroup.y);
  if (workgroup.y >= step_n_chunks() || chunk.count == 0u) {
    return;
  }
  let n_heads = immediates.n_embd / HEAD_SIZE;
  let head = workgroup.x / (HEAD_SIZE / ROWS);
  let first_row = workgroup.x % (HEAD_SIZE / ROWS) * ROWS;
  let advances = subgroup < ADVANCING;
  let copying = (subgroup - ADVANCING) * SUBGROUP + lane;
  let group = subgroup / PARTS;
  let part = subgroup % PARTS;
  // Of the quads of the group's rows, 64 at a time.
  let item = part * SUBGROUP + lane;
  let quad = item % QUADS;
  let own_row = group * 16u + item / QUADS;
  let state_at = ((chunk.slot * n_heads + head) * HEAD_SIZE + first_row + own_row) * QUADS + quad;
  let own_state = own_row * 2u * STRIDE + quad;
  let own_sum = own_row * SUM_STRIDE + quad;
  // P and Y have 64 quads each.
  let own_square = group * 16u * SUM_STRIDE + item / 4u * SQUARE_STRIDE + item % 4u;
  var record = ((chunk.first / BLOCK + workgroup.y) * n_heads + head) * RECORD;
  if (advances) {
    //@repeat R ROWS_EACH
    row_$R = state_quad(state_at + $Ru * 4u * QUADS);
    state[own_state + $Ru * 8u * STRIDE] = finite_halves(row_$R);
    //@end
  } else {
    fetch(record, first_row / 8u, copying);
    put(0u, copying);
    if (BLOCK < chunk.count) {
      fetch(record + n_heads * RECORD, first_row / 8u, copying);
    }
  }
  workgroupBarrier();
  var base = 0u;
  for (var t_block = 0u; t_block < chunk.count; t_block += BLOCK) {
    record += n_heads * RECORD;
    if (advances) {
      read_state(base, group, part);
    }
    workgroupBarrier();
    if (advances) {
      removed[(group * 16u + item / 4u) * P_STRIDE + item % 4u] = finite_halves(-sums[own_square]);
      let t = t_block + item / 4u;
      if (t < chunk.count) {
        y[((chunk.first + t) * immediates.n_embd + head * HEAD_SIZE + first_row + group * 16u) / 4u + item % 4u] =
            sums[own_square + 16u * SQUARE_STRIDE];
      }
    }
    workgroupBarrier();
    if (advances) {
      change_state(base, group, part);
    }
    workgroupBarrier();
    if (advances) {
      let w = bitcast<vec4<f32>>(brought[base + W + quad]);
      //@repeat R ROWS_EACH
      row_$R = row_$R * w + sums[own_sum + $Ru * 4u * SUM_STRIDE];
      state[own_state + $Ru * 8u * STRIDE] = finite_halves(row_$R);
      //@end
    } else {
      put(BROUGHT - base, copying);
      // Loads that end a turn of the loop are on their way during the next one.
      if (t_block + 2u * BLOCK < chunk.count) {
        fetch(record + n_heads * RECORD, first_row / 8u, copying);
      }
    }
    workgroupBarrier();
    base = BROUGHT - base;
  }
  if (advances && !control_frozen(chunk.slot)) {
    //@repeat R ROWS_EACH
    store_state_quad(state_at + $Ru * 4u * QUADS, row_$R);
    //@end
  }
}
