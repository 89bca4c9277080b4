// Matrix times many columns on subgroup matrices (T2). One workgroup: a tile of ROWS rows of a segment times COLUMNS tokens.
// Its subgroups lie SUBGROUPS_M along the rows, SUBGROUPS_N along the columns and SUBGROUPS_K along the inputs; each holds
// TILES_M x TILES_N sums of MAT_M x MAT_N in f32; where matrices can only be summed in f16 (FOLD), each keeps its elements'
// f32 in registers and adds the matrix to them after every step. Weights are decoded to f16 into workgroup memory, DEPTH inputs of each of
// the SUBGROUPS_K slices at a time, and used for all COLUMNS. Grid: x, y: tiles of rows over all segments, z: tiles of
// tokens. Oracle: matmul_ref.cpp.
enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;
requires subgroup_id;
diagnostic(off, chromium.subgroup_matrix_uniformity);
//@import act
//@import out
//@import step
//@import format
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
// Units of weights and octets of inputs that an invocation stages at a time.
//@const UNITS_EACH 1
//@const OCTETS_EACH 4
//@const UNIT_OCTETS 4
// One is 1, the other 0: matrices sum in f32, or in f16.
//@const DIRECT 1
//@const FOLD 0

const SUBGROUPS = SUBGROUPS_M * SUBGROUPS_N * SUBGROUPS_K;
const WORKGROUP_SIZE = SUBGROUPS * SUBGROUP_SIZE;
const ROWS = SUBGROUPS_M * TILES_M * MAT_M;
const COLUMNS = SUBGROUPS_N * TILES_N * MAT_N;
const SLICE_OCTETS = DEPTH / 8u;
const STEP_OCTETS = SUBGROUPS_K * SLICE_OCTETS;
const STEP_UNITS = STEP_OCTETS / 4u;
// Of a row or column in workgroup memory; the odd one spreads neighbours over the banks.
const STRIDE = STEP_OCTETS + 1u;
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

var<workgroup> row_tile: array<vec4<u32>, ROWS * STRIDE>;        // octets of f16
var<workgroup> column_tile: array<vec4<u32>, COLUMNS * STRIDE>;  // likewise
var<workgroup> drain: array<f32, SUBGROUPS * MATRIX>;

fn halves_of(values: Octet) -> vec4<u32> {
  return vec4(pack2x16float(values.low.xy), pack2x16float(values.low.zw), pack2x16float(values.high.xy),
              pack2x16float(values.high.zw));
}

// A unit of weights, zero past the end.
fn stage_unit(row: u32, n_in: u32, unit: u32) -> Unit {
  if (unit / 2u * 64u >= n_in) {
    return Unit();
  }
  return load_unit(row, n_in, unit);
}

// An octet of inputs as f16, zero past the end, where the other factor may be anything.
fn stage_octet(column: u32, n_in: u32, octet: u32) -> vec4<u32> {
  if (octet * 8u >= n_in) {
    return vec4<u32>();
  }
  return input[column / 8u + octet];
}

// Adds the slices' sums of one matrix of every subgroup position and stores them; the slices share the elements.
fn store_sums(segment: Segment, row_first: u32, column_first: u32, n_columns: u32, position: u32, slice: u32, in_subgroup: u32) {
  for (var i = in_subgroup + slice * SUBGROUP_SIZE; i < MATRIX; i += SUBGROUP_SIZE * SUBGROUPS_K) {
    var sum = 0.0;
    for (var k = 0u; k < SUBGROUPS_K; k++) {
      sum += drain[(position * SUBGROUPS_K + k) * MATRIX + i];
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
  let group = workgroup.x + workgroup.y * grid.x;
  let column_first = workgroup.z * COLUMNS;
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
  //@repeat U UNITS_EACH
  let row_$U = (lane + $Uu * WORKGROUP_SIZE) / STEP_UNITS;
  let unit_$U = (lane + $Uu * WORKGROUP_SIZE) % STEP_UNITS;
  let weights_$U = segment.weight_offset + min(row_first + row_$U, segment.n_rows - 1u) * segment.row_words;
  var loaded_$U = stage_unit(weights_$U, n_in, unit_$U);
  //@end
  //@repeat X OCTETS_EACH
  let column_$X = (lane + $Xu * WORKGROUP_SIZE) / STEP_OCTETS;
  let octet_$X = (lane + $Xu * WORKGROUP_SIZE) % STEP_OCTETS;
  let inputs_$X = segment.input_offset + min(column_first + column_$X, n_columns - 1u) * segment.input_stride;
  var input_$X = stage_octet(inputs_$X, n_in, octet_$X);
  //@end
  for (var k = 0u; k < n_in; k += STEP_OCTETS * 8u) {
    //@repeat U UNITS_EACH
    if (row_$U < ROWS) {
      //@repeat O UNIT_OCTETS
      row_tile[row_$U * STRIDE + unit_k(unit_$U, $Ou) / 8u] = halves_of(unit_octet(loaded_$U, $Ou));
      //@end
    }
    //@end
    //@repeat X OCTETS_EACH
    if (column_$X < COLUMNS) {
      column_tile[column_$X * STRIDE + octet_$X] = input_$X;
    }
    //@end
    workgroupBarrier();
    // The next step's are on their way while this one's are multiplied.
    let next = k / 8u + STEP_OCTETS;
    //@repeat U UNITS_EACH
    loaded_$U = stage_unit(weights_$U, n_in, next / 4u + unit_$U);
    //@end
    //@repeat X OCTETS_EACH
    input_$X = stage_octet(inputs_$X, n_in, next + octet_$X);
    //@end
    for (var octet = 0u; octet < SLICE_OCTETS; octet += MAT_K / 8u) {
      let at = slice * SLICE_OCTETS + octet;
      //@repeat I TILES_M
      let left_$I = subgroupMatrixLoad<Left, row_major>(&row_tile, (row_at + $Iu * MAT_M) * STRIDE + at, STRIDE);
      //@end
      //@repeat J TILES_N
      let right_$J = subgroupMatrixLoad<Right, col_major>(&column_tile, (column_at + $Ju * MAT_N) * STRIDE + at, STRIDE);
      //@repeat I TILES_M
      sums_$I_$J = subgroupMatrixMultiplyAccumulate(left_$I, right_$J, sums_$I_$J);
      //@end
      //@end
    }
    workgroupBarrier();
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
  //@repeat I TILES_M
  //@repeat J TILES_N
  //@repeat D DIRECT
  subgroupMatrixStore<col_major>(&drain, subgroup * MATRIX, sums_$I_$J, MAT_M);
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
