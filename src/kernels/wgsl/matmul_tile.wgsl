// Matrix times many columns on subgroup matrices (T2). One workgroup: a tile of ROWS rows of a segment times COLUMNS tokens.
// Its subgroups lie SUBGROUPS_M along the rows, SUBGROUPS_N along the columns and SUBGROUPS_K along the inputs; each holds
// TILES_M x TILES_N sums of MAT_M x MAT_N in f32; where matrices can only be summed in f16 (FOLD), each keeps its elements'
// f32 in registers and adds the matrix to them after every step. Weights are decoded to f16 into workgroup memory, DEPTH inputs of each of
// the SUBGROUPS_K slices at a time, and used for all COLUMNS. Lots of weights and octets of inputs are loaded STAGES steps ahead; with two
// BUFFERS of workgroup memory one is filled while the other is multiplied. Grid: x, y: tiles of rows over all segments, z: tiles
// of tokens; those of the same rows run together. Oracle: matmul_ref.cpp.
enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;
requires subgroup_id;
diagnostic(off, chromium.subgroup_matrix_uniformity);
//@import act
//@import out
//@import step
//@import lot
//@import matmul_segments
//@const MAT_M 16
//@const MAT_N 16
//@const MAT_K 16
//@const SUBGROUP_SIZE 32
//@const SUBGROUPS_M 2
//@const SUBGROUPS_N 2
//@const SUBGROUPS_K 1
//@const TILES_M 2
//@const TILES_N 2
//@const DEPTH 64
//@const STAGES 1
//@const BUFFERS 1
// Octets of a lot, the lots of weights and the octets of inputs that an invocation stages at a time.
//@const LOT_OCTETS 4
//@const LOTS_EACH 1
//@const OCTETS_EACH 4
// Matrices of each slice that are multiplied one after another.
//@const MATRICES_K 4
// One is 1, the other 0: matrices sum in f32, or in f16.
//@const DIRECT 1
//@const FOLD 0
// 1: a buffer is done with only when all have come to a barrier.
//@const SINGLE 1

const SUBGROUPS = SUBGROUPS_M * SUBGROUPS_N * SUBGROUPS_K;
const WORKGROUP_SIZE = SUBGROUPS * SUBGROUP_SIZE;
const ROWS = SUBGROUPS_M * TILES_M * MAT_M;
const COLUMNS = SUBGROUPS_N * TILES_N * MAT_N;
const SLICE_OCTETS = DEPTH / 8u;
const STEP_OCTETS = SUBGROUPS_K * SLICE_OCTETS;
const STEP_LOTS = STEP_OCTETS / LOT_OCTETS;
// Of a row or column in workgroup memory; the odd one spreads neighbours over the banks.
const STRIDE = STEP_OCTETS + 1u;
// Neighbours stage lots of so many rows, or octets of one, so that they write to different banks.
const TOGETHER = select(8u, 1u, LOT_OCTETS == 1u);
// Rows and columns from one that an invocation stages to the next.
const ROWS_APART = WORKGROUP_SIZE / STEP_LOTS;
const COLUMNS_APART = WORKGROUP_SIZE / STEP_OCTETS;
// Elements of a matrix, and how many of them an invocation has.
const MATRIX = MAT_M * MAT_N;
const ELEMENTS = (MATRIX + SUBGROUP_SIZE - 1u) / SUBGROUP_SIZE;

alias Left = subgroup_matrix_left<f16, MAT_K, MAT_M>;
alias Right = subgroup_matrix_right<f16, MAT_N, MAT_K>;
//@repeat D DIRECT
alias Sum = f32;
fn drained(i: u32) -> f32 { return bitcast<f32>(tiles[i / 4u][i % 4u]); }
//@end
//@repeat F FOLD
alias Sum = f16;
var<workgroup> unfolded: array<f16, SUBGROUPS * MATRIX>;
var<workgroup> drain: array<f32, SUBGROUPS * MATRIX>;
fn drained(i: u32) -> f32 { return drain[i]; }
//@end
alias Sums = subgroup_matrix_result<Sum, MAT_N, MAT_M>;

// Octets of f16: rows, then columns. In the end sums go out through the same memory, four in an octet's place.
const BUFFER = (ROWS + COLUMNS) * STRIDE;
const DRAIN = SUBGROUPS * MATRIX / 4u;
var<workgroup> tiles: array<vec4<u32>, max(BUFFERS * BUFFER, DRAIN)>;

// Adds the slices' sums of one matrix of every subgroup position and stores them; the slices share the elements.
fn store_sums(segment: Segment, row_first: u32, column_first: u32, n_columns: u32, position: u32, slice: u32, in_subgroup: u32) {
  for (var i = in_subgroup + slice * SUBGROUP_SIZE; i < MATRIX; i += SUBGROUP_SIZE * SUBGROUPS_K) {
    var sum = 0.0;
    for (var k = 0u; k < SUBGROUPS_K; k++) {
      sum += drained((position * SUBGROUPS_K + k) * MATRIX + i);
    }
    let row = row_first + i % MAT_M;
    let column = column_first + i / MAT_M;
    if (row < segment.n_rows && column < n_columns) {
      store_output(segment, row, column, sum);
    }
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(subgroup_invocation_id) in_subgroup: u32,
        @builtin(subgroup_id) subgroup: u32, @builtin(workgroup_id) workgroup: vec3<u32>,
        @builtin(num_workgroups) grid: vec3<u32>) {
  let index = workgroup.x + (workgroup.y + workgroup.z * grid.y) * grid.x;
  let group = index / grid.z;
  let column_first = index % grid.z * COLUMNS;
  let n_columns = column_count();
  if (group >= immediates.n_groups || column_first >= n_columns) {
    return;
  }
  let segment = segment_of(group);
  let n_in = segment.n_in;
  let row_first = (group - segment.group_begin) * ROWS;
  // Where this subgroup works: slices of one position are neighbours.
  let slice = subgroup % SUBGROUPS_K;
  let position = subgroup / SUBGROUPS_K;
  let row_at = position % SUBGROUPS_M * TILES_M * MAT_M;
  let column_at = position / SUBGROUPS_M * TILES_N * MAT_N;
  //@repeat I TILES_M
  //@repeat J TILES_N
  var sums_$I_$J: Sums;
  //@repeat F FOLD
  var folded_$I_$J: array<f32, ELEMENTS>;
  //@end
  //@end
  //@end
  // Past the end the last lot again, times inputs of zero.
  let last_lot = (n_in + 63u) / 64u * (8u / LOT_OCTETS) - 1u;
  let own_lot = lane / TOGETHER % STEP_LOTS;
  let row_0 = lane / (TOGETHER * STEP_LOTS) * TOGETHER + lane % TOGETHER;
  //@repeat W LOTS_EACH
  let weights_$W = segment.weight_offset + min(row_first + row_0 + $Wu * ROWS_APART, segment.n_rows - 1u) * segment.row_words;
  //@end
  let own_octet = lane % STEP_OCTETS;
  let column_0 = lane / STEP_OCTETS;
  //@repeat X OCTETS_EACH
  let inputs_$X =
      (segment.input_offset + min(column_first + column_0 + $Xu * COLUMNS_APART, n_columns - 1u) * segment.input_stride) / 8u;
  //@end
  let last_octet = (n_in - 1u) / 8u;
  //@repeat P STAGES
  //@repeat W LOTS_EACH
  var loaded_$P_$W = load_lot(weights_$W, n_in, min($Pu * STEP_LOTS + own_lot, last_lot));
  //@end
  //@repeat X OCTETS_EACH
  var input_$P_$X = input[inputs_$X + min($Pu * STEP_OCTETS + own_octet, last_octet)];
  //@end
  //@end
  for (var first = 0u; first <= last_octet; first += STAGES * STEP_OCTETS) {
    //@repeat P STAGES
    {
      let octets = first + $Pu * STEP_OCTETS;
      let buffer = $Pu % BUFFERS * BUFFER;
      //@repeat X OCTETS_EACH
      if (COLUMNS % COLUMNS_APART == 0u || column_0 + $Xu * COLUMNS_APART < COLUMNS) {
        tiles[buffer + (ROWS + column_0 + $Xu * COLUMNS_APART) * STRIDE + own_octet] =
            select(vec4<u32>(), lot_inputs(input_$P_$X), octets + own_octet <= last_octet);
      }
      //@end
      //@repeat W LOTS_EACH
      if (ROWS % ROWS_APART == 0u || row_0 + $Wu * ROWS_APART < ROWS) {
        let halves_$W = decode_lot(loaded_$P_$W);
        //@repeat O LOT_OCTETS
        tiles[buffer + (row_0 + $Wu * ROWS_APART) * STRIDE + lot_k(own_lot, $Ou) / 8u] = halves_$W[$O];
        //@end
      }
      //@end
      workgroupBarrier();
      // The next ones are on their way while these are multiplied.
      let next = octets + STAGES * STEP_OCTETS;
      //@repeat W LOTS_EACH
      loaded_$P_$W = load_lot(weights_$W, n_in, min(next / LOT_OCTETS + own_lot, last_lot));
      //@end
      //@repeat X OCTETS_EACH
      input_$P_$X = input[inputs_$X + min(next + own_octet, last_octet)];
      //@end
      //@repeat Q MATRICES_K
      {
        let at = slice * SLICE_OCTETS + $Qu * (MAT_K / 8u);
        //@repeat I TILES_M
        let left_$I = subgroupMatrixLoad<Left, row_major>(&tiles, buffer + (row_at + $Iu * MAT_M) * STRIDE + at, STRIDE);
        //@end
        //@repeat J TILES_N
        let right_$J = subgroupMatrixLoad<Right, col_major>(&tiles, buffer + (ROWS + column_at + $Ju * MAT_N) * STRIDE + at, STRIDE);
        //@repeat I TILES_M
        sums_$I_$J = subgroupMatrixMultiplyAccumulate(left_$I, right_$J, sums_$I_$J);
        //@end
        //@end
      }
      //@end
      //@repeat S SINGLE
      workgroupBarrier();
      //@end
      //@repeat F FOLD
      //@repeat I TILES_M
      //@repeat J TILES_N
      subgroupMatrixStore<col_major>(&unfolded, subgroup * MATRIX, sums_$I_$J, MAT_M);
      sums_$I_$J = Sums();
      workgroupBarrier();
      for (var i = 0u; i < ELEMENTS; i++) {
        folded_$I_$J[i] += f32(unfolded[subgroup * MATRIX + min(in_subgroup + i * SUBGROUP_SIZE, MATRIX - 1u)]);
      }
      workgroupBarrier();
      //@end
      //@end
      //@end
    }
    //@end
  }
  workgroupBarrier();
  //@repeat I TILES_M
  //@repeat J TILES_N
  //@repeat D DIRECT
  subgroupMatrixStore<col_major>(&tiles, subgroup * MATRIX / 4u, sums_$I_$J, MAT_M / 4u);
  //@end
  //@repeat F FOLD
  for (var i = 0u; i < ELEMENTS; i++) {
    drain[subgroup * MATRIX + min(in_subgroup + i * SUBGROUP_SIZE, MATRIX - 1u)] = folded_$I_$J[i];
  }
  //@end
  workgroupBarrier();
  store_sums(segment, row_first + row_at + $Iu * MAT_M, column_first + column_at + $Ju * MAT_N, n_columns, position, slice, in_subgroup);
  workgroupBarrier();
  //@end
  //@end
}
