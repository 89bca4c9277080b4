// How fast subgroup matrices multiply (T2): every subgroup adds TILES_M x TILES_N products of operands that stay in
// registers to its sums, STEPS times over. The operands hold 1 and -1, so that the sums are exact; every subgroup writes
// the sum of all their elements. Grid: x. Oracle: operands_sum in limits.cpp.
enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;
requires subgroup_id;
diagnostic(off, chromium.subgroup_matrix_uniformity);
//@const MAT_M 16
//@const MAT_N 16
//@const MAT_K 16
//@const SUBGROUP_SIZE 32
//@const SUBGROUPS 8
//@const TILES_M 2
//@const TILES_N 4
//@const STEPS 512
// One is 1, the other 0: matrices sum in f32, or in f16.
//@const DIRECT 1
//@const FOLD 0

const WORKGROUP_SIZE = SUBGROUPS * SUBGROUP_SIZE;
const MATRIX = MAT_M * MAT_N;
const LEFT_SIZE = TILES_M * MAT_M * MAT_K;
const RIGHT_SIZE = TILES_N * MAT_N * MAT_K;

alias Left = subgroup_matrix_left<f16, MAT_K, MAT_M>;
alias Right = subgroup_matrix_right<f16, MAT_N, MAT_K>;
//@repeat D DIRECT
alias Sum = f32;
//@end
//@repeat F FOLD
alias Sum = f16;
//@end
alias Sums = subgroup_matrix_result<Sum, MAT_N, MAT_M>;

@group(0) @binding(0) var<storage, read_write> totals: array<f32>;  // [workgroup, SUBGROUPS]
var<workgroup> left_tile: array<f16, LEFT_SIZE>;    // [row, input]
var<workgroup> right_tile: array<f16, RIGHT_SIZE>;  // [column, input]
var<workgroup> drain: array<Sum, SUBGROUPS * MATRIX>;

// Three in four are 1, the fourth is -1.
fn operand(at: u32) -> f16 { return select(1.0h, -1.0h, (at * 2654435761u) >> 30u == 0u); }

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(subgroup_invocation_id) in_subgroup: u32,
        @builtin(subgroup_id) subgroup: u32, @builtin(workgroup_id) workgroup: vec3<u32>) {
  for (var i = lane; i < LEFT_SIZE; i += WORKGROUP_SIZE) {
    left_tile[i] = operand(i);
  }
  for (var i = lane; i < RIGHT_SIZE; i += WORKGROUP_SIZE) {
    right_tile[i] = operand(LEFT_SIZE + i);
  }
  workgroupBarrier();
  //@repeat I TILES_M
  let left_$I = subgroupMatrixLoad<Left, row_major>(&left_tile, $Iu * MAT_M * MAT_K, MAT_K);
  //@repeat J TILES_N
  var sums_$I_$J: Sums;
  //@end
  //@end
  //@repeat J TILES_N
  let right_$J = subgroupMatrixLoad<Right, col_major>(&right_tile, $Ju * MAT_N * MAT_K, MAT_K);
  //@end
  for (var i = 0u; i < STEPS; i++) {
    //@repeat I TILES_M
    //@repeat J TILES_N
    sums_$I_$J = subgroupMatrixMultiplyAccumulate(left_$I, right_$J, sums_$I_$J);
    //@end
    //@end
  }
  var total = 0.0;
  //@repeat I TILES_M
  //@repeat J TILES_N
  subgroupMatrixStore<col_major>(&drain, subgroup * MATRIX, sums_$I_$J, MAT_M);
  workgroupBarrier();
  for (var i = in_subgroup; i < MATRIX; i += SUBGROUP_SIZE) {
    total += f32(drain[subgroup * MATRIX + i]);
  }
  workgroupBarrier();
  //@end
  //@end
  let sum = subgroupAdd(total);
  if (in_subgroup == 0u) {
    totals[workgroup.x * SUBGROUPS + subgroup] = sum;
  }
}
