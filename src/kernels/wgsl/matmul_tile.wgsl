// Matrix times many columns on subgroup matrices (T2). One workgroup: a tile of ROWS rows of a segment times COLUMNS tokens.
// Its subgroups lie SUBGROUPS_M along the rows, SUBGROUPS_N along the columns and SUBGROUPS_K along the inputs; each holds
// TILES_M x TILES_N sums of MAT_M x MAT_N in f32; where matrices can only be summed in f16 (FOLD), each keeps its elements'
// f32 in registers and adds the matrix to them after every step. Weights are decoded to f16 into workgroup memory, DEPTH inputs of each of
// the SUBGROUPS_K slices at a time, and used for all COLUMNS. Inputs are taken in the order in which lots hold their weights. Grid: x, y:
// tiles of rows over all segments, z: tiles of tokens; those of the same rows run together. Oracle: matmul_ref.cpp.
enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;
requires subgroup_id;
diagnostic(off, chromium.subgroup_matrix_uniformity);
//@import act
//@import out
//@import step
//@import lot
//@import rows
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
// Octets of a lot, the lots of weights and the octets of inputs that an invocation stages at a time.
//@const LOT_OCTETS 4
//@const LOTS_EACH 1
//@const OCTETS_EACH 4
// Matrices of each slice that are multiplied one after another.
//@const MATRICES_K 4
// Elements of a matrix that an invocation stores in the end.
//@const STORES_EACH 8
// Matrices of each subgroup that are stored together, out of TILES_N.
//@const STORE_N 2
// Steps whose weights and inputs are asked for together: the fewer columns, the more has to be on its way.
//@const SETS 1
// One is 1, the other 0: matrices sum in f32, or in f16.
//@const DIRECT 1
//@const FOLD 0

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
//@end
//@repeat F FOLD
alias Sum = f16;
var<workgroup> unfolded: array<f16, SUBGROUPS * MATRIX>;
//@end
alias Sums = subgroup_matrix_result<Sum, MAT_N, MAT_M>;

// Octets of f16: rows, then columns. In the end sums go out through the same memory, STORE_N matrices of each subgroup at a time, four
// in an octet's place.
var<workgroup> tiles: array<vec4<u32>, max((ROWS + COLUMNS) * STRIDE, SUBGROUPS * STORE_N * MATRIX / 4u)>;

// The first ones of what an invocation stages; others lie ROWS_APART and COLUMNS_APART further on.
struct Share {
  row: u32,
  lot: u32,
  column: u32,
  octet: u32,
}

fn share_of(lane: u32) -> Share {
  return Share(lane / (TOGETHER * STEP_LOTS) * TOGETHER + lane % TOGETHER, lane / TOGETHER % STEP_LOTS, lane / STEP_OCTETS,
               lane % STEP_OCTETS);
}

// Where a subgroup works: slices of one position are neighbours.
struct Place {
  slice: u32,
  position: u32,
  row: u32,
  column: u32,
}

fn place_of(subgroup: u32) -> Place {
  let position = subgroup / SUBGROUPS_K;
  return Place(subgroup % SUBGROUPS_K, position, position % SUBGROUPS_M * TILES_M * MAT_M,
               position / SUBGROUPS_M * TILES_N * MAT_N);
}

// Lot `place` of a row's step.
fn put_lot(row: u32, place: u32, lot: Lot) {
  if (ROWS % ROWS_APART != 0u && row >= ROWS) {
    return;
  }
  let octets = decode_lot(lot);
  //@repeat O LOT_OCTETS
  tiles[row * STRIDE + place * LOT_OCTETS + $Ou] = octets[$O];
  //@end
}

// Octet `place` of a column's step; zeros past the end, where weights may be anything.
fn put_inputs(column: u32, place: u32, octet: vec4<u32>, is_there: bool) {
  if (COLUMNS % COLUMNS_APART != 0u && column >= COLUMNS) {
    return;
  }
  tiles[(ROWS + column) * STRIDE + place] = select(vec4<u32>(), lot_inputs(octet), is_there);
}

// The octet of a row's inputs that belongs to octet `place` of the step that begins with lot `first`.
fn input_octet(first: u32, place: u32) -> u32 { return lot_k(first + place / LOT_OCTETS, place % LOT_OCTETS) / 8u; }

// Places of one of STORE_N matrices that lie in `tiles`, of the slice that is given.
fn drain_at(place: Place, slice: u32, matrix: u32, i: u32) -> u32 {
  return ((place.position * SUBGROUPS_K + slice) * STORE_N + matrix) * MATRIX + i;
}

fn drained(at: u32) -> f32 { return bitcast<f32>(tiles[at / 4u][at % 4u]); }

// Stores matrices of one row of them that lie in `tiles`: the sums of all slices, which share the elements.
fn store_matrices(segment: Segment, row_first: u32, column_first: u32, n_columns: u32, place: Place, in_subgroup: u32) {
  let first = in_subgroup + place.slice * SUBGROUP_SIZE;
  // What they are added to: all of it is asked for ahead of any store to the same buffer, which loads do not pass.
  //@repeat B ACCUMULATE
  //@repeat J STORE_N
  //@repeat E STORES_EACH
  {
    let i = first + $Eu * SUBGROUP_SIZE * SUBGROUPS_K;
    let row = min(row_first + i % MAT_M, segment.n_rows - 1u);
    let column = min(column_first + $Ju * MAT_N + i / MAT_M, n_columns - 1u);
    let at = drain_at(place, 0u, $Ju, select(first, i, i < MATRIX));
    let before = output_before(segment, row, column);
    tiles[at / 4u][at % 4u] = bitcast<u32>(drained(at) + select(0.0, before, i < MATRIX));
  }
  //@end
  //@end
  //@end
  for (var j = 0u; j < STORE_N; j++) {
    for (var i = first; i < MATRIX; i += SUBGROUP_SIZE * SUBGROUPS_K) {
      var sum = 0.0;
      for (var k = 0u; k < SUBGROUPS_K; k++) {
        sum += drained(drain_at(place, k, j, i));
      }
      let row = row_first + i % MAT_M;
      let column = column_first + j * MAT_N + i / MAT_M;
      if (row < segment.n_rows && column < n_columns) {
        store_output(segment, row, column, sum);
      }
    }
  }
}

// Word of a row's weights; past the end the last row's.
fn weights_of(segment: Segment, row: u32) -> u32 {
  return segment.weight_offset + row_at(min(row, segment.n_rows - 1u), segment.row_words);
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
  let row_first = (group - segment.group_begin) * ROWS;
  let place = place_of(subgroup);
  //@repeat I TILES_M
  //@repeat J TILES_N
  var sums_$I_$J: Sums;
  //@repeat F FOLD
  var folded_$I_$J: array<f32, ELEMENTS>;
  //@end
  //@end
  //@end
  // Past the end the last lot again.
  let lot_first = segment.k_begin / 64u * (8u / LOT_OCTETS);
  let n_lots = (segment.k_end + 63u) / 64u * (8u / LOT_OCTETS);
  let last_octet = (segment.k_end - 1u) / 8u;
  let own = share_of(lane);
  //@repeat W LOTS_EACH
  let weights_$W = weights_of(segment, row_first + own.row + $Wu * ROWS_APART);
  //@end
  //@repeat X OCTETS_EACH
  let inputs_$X =
      (segment.input_offset + min(column_first + own.column + $Xu * COLUMNS_APART, n_columns - 1u) * segment.input_stride) / 8u;
  //@end
  //@repeat S SETS
  //@repeat W LOTS_EACH
  var lot_$S_$W = load_lot(weights_$W, segment.n_in, min(lot_first + $Su * STEP_LOTS + own.lot, n_lots - 1u));
  //@end
  //@repeat X OCTETS_EACH
  var input_$S_$X = input[inputs_$X + min(input_octet(lot_first + $Su * STEP_LOTS, own.octet), last_octet)];
  //@end
  //@end
  var next = lot_first;
  while (true) {
    //@repeat S SETS
    if ($Su > 0u || next > lot_first) {
      //@repeat Q MATRICES_K
      {
        let at = place.slice * SLICE_OCTETS + $Qu * (MAT_K / 8u);
        //@repeat I TILES_M
        let left_$I = subgroupMatrixLoad<Left, row_major>(&tiles, (place.row + $Iu * MAT_M) * STRIDE + at, STRIDE);
        //@end
        //@repeat J TILES_N
        let right_$J = subgroupMatrixLoad<Right, col_major>(&tiles, (ROWS + place.column + $Ju * MAT_N) * STRIDE + at, STRIDE);
        //@repeat I TILES_M
        sums_$I_$J = subgroupMatrixMultiplyAccumulate(left_$I, right_$J, sums_$I_$J);
        //@end
        //@end
      }
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
      if ($Su == 0u && next >= n_lots) {
        break;
      }
      workgroupBarrier();
    }
    //@repeat X OCTETS_EACH
    put_inputs(own.column + $Xu * COLUMNS_APART, own.octet, input_$S_$X, input_octet(next + $Su * STEP_LOTS, own.octet) <= last_octet);
    //@end
    //@repeat W LOTS_EACH
    put_lot(own.row + $Wu * ROWS_APART, own.lot, lot_$S_$W);
    //@end
    workgroupBarrier();
    //@end
    // Loads end a turn of the loop, so that they are on their way during the next turn's first products: NVIDIA's compiler puts off
    // those in its midst until they are used.
    next += SETS * STEP_LOTS;
    //@repeat S SETS
    //@repeat W LOTS_EACH
    lot_$S_$W = load_lot(weights_$W, segment.n_in, min(next + $Su * STEP_LOTS + own.lot, n_lots - 1u));
    //@end
    //@repeat X OCTETS_EACH
    input_$S_$X = input[inputs_$X + min(input_octet(next + $Su * STEP_LOTS, own.octet), last_octet)];
    //@end
    //@end
  }
  //@repeat I TILES_M
  //@repeat J TILES_N
  if ($Ju % STORE_N == 0u) {
    workgroupBarrier();
  }
  //@repeat D DIRECT
  subgroupMatrixStore<col_major>(&tiles, (subgroup * STORE_N + $Ju % STORE_N) * MATRIX / 4u, sums_$I_$J, MAT_M / 4u);
  //@end
  //@repeat F FOLD
  for (var i = 0u; i < ELEMENTS; i++) {
    let at = (subgroup * STORE_N + $Ju % STORE_N) * MATRIX + min(in_subgroup + i * SUBGROUP_SIZE, MATRIX - 1u);
    tiles[at / 4u][at % 4u] = bitcast<u32>(folded_$I_$J[i]);
  }
  //@end
  if ($Ju % STORE_N == STORE_N - 1u) {
    workgroupBarrier();
    let column = column_first + place.column + $Ju / STORE_N * STORE_N * MAT_N;
    store_matrices(segment, row_first + place.row + $Iu * MAT_M, column, n_columns, place, in_subgroup);
  }
  //@end
  //@end
}
