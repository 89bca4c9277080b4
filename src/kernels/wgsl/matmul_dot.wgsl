// Matrix times few columns by integer products: weights whose formats have small integer codes (wgsl/format_codes.wgsl),
// inputs rounded to eight bits for every 32 of them as they are read. One workgroup: ROWS rows of a segment times COLUMNS
// tokens, each invocation a unit of 32 weights of every row at a time. Memory-bound. Grid: x, y: groups of rows over all
// segments, z: groups of COLUMNS tokens. Oracle: matmul_ref.cpp.
enable subgroups;
requires subgroup_id;
requires packed_4x8_integer_dot_product;
//@import act
//@import out
//@import step
//@import format
//@import matmul_segments
//@const WORKGROUP_SIZE 96
//@const ROWS 8
//@const COLUMNS 1

const RESULTS = ROWS * COLUMNS;
// 32 inputs: halves as signed bytes, what one stands for, and the halves' sums.
struct Inputs {
  codes: array<vec4<u32>, 2>,
  scale: f32,
  sums: vec2<f32>,
}

var<workgroup> parts: array<f32, RESULTS * (WORKGROUP_SIZE / 4u)>;

fn largest(values: Octet) -> f32 {
  let pairs = max(abs(values.low), abs(values.high));
  return max(max(pairs.x, pairs.y), max(pairs.z, pairs.w));
}

fn bytes_of(values: Octet, inverse: f32) -> vec2<u32> {
  return vec2(pack4xI8(vec4<i32>(round(values.low * inverse))), pack4xI8(vec4<i32>(round(values.high * inverse))));
}

fn dot16(a: vec4<u32>, b: vec4<u32>) -> i32 {
  return dot4I8Packed(a.x, b.x) + dot4I8Packed(a.y, b.y) + dot4I8Packed(a.z, b.z) + dot4I8Packed(a.w, b.w);
}

// The inputs of a unit, whose halves are sixteen weights each.
fn load_inputs(at: u32, unit: u32) -> Inputs {
  let low = at + unit_k(unit, 0u);
  let high = at + unit_k(unit, 2u);
  let a = input8(low);
  let b = input8(low + 8u);
  let c = input8(high);
  let d = input8(high + 8u);
  let most = max(max(largest(a), largest(b)), max(largest(c), largest(d)));
  let inverse = select(0.0, 127.0 / most, most > 0.0);
  let scale = most / 127.0;
  let codes = array(vec4(bytes_of(a, inverse), bytes_of(b, inverse)), vec4(bytes_of(c, inverse), bytes_of(d, inverse)));
  let ones = vec4(0x01010101u);
  return Inputs(codes, scale, scale * vec2(f32(dot16(codes[0], ones)), f32(dot16(codes[1], ones))));
}

fn unit_dot(unit: Unit, inputs: Inputs) -> f32 {
  let low = unit_affine(unit, 0u);
  let high = unit_affine(unit, 1u);
  let products = low.x * f32(dot16(unit_codes(unit, 0u), inputs.codes[0])) + high.x * f32(dot16(unit_codes(unit, 1u), inputs.codes[1]));
  return products * inputs.scale + low.y * inputs.sums.x + high.y * inputs.sums.y;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(subgroup_invocation_id) in_subgroup: u32,
        @builtin(subgroup_id) subgroup: u32, @builtin(num_subgroups) n_subgroups: u32,
        @builtin(workgroup_id) workgroup: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
  let group = workgroup.x + workgroup.y * grid.x;
  let column_first = workgroup.z * COLUMNS;
  let n_columns = column_count();
  if (group >= immediates.n_groups || column_first >= n_columns) {
    return;
  }
  let segment = segment_of(group);
  let row_first = (group - segment.group_begin) * ROWS;
  let n_in = segment.n_in;
  // Rows and columns past the end repeat the last one and are not stored.
  let row_last = segment.n_rows - 1u;
  //@repeat R ROWS
  let row_$R = segment.weight_offset + min(row_first + $Ru, row_last) * segment.row_words;
  //@repeat C COLUMNS
  var sum_$R_$C = 0.0;
  //@end
  //@end
  //@repeat C COLUMNS
  let input_$C = segment.input_offset + min(column_first + $Cu, n_columns - 1u) * segment.input_stride;
  //@end
  for (var unit = lane; unit < n_in / 32u; unit += WORKGROUP_SIZE) {
    //@repeat R ROWS
    let unit_$R = load_unit(row_$R, n_in, unit);
    //@end
    //@repeat C COLUMNS
    let inputs_$C = load_inputs(input_$C, unit);
    //@repeat R ROWS
    sum_$R_$C += unit_dot(unit_$R, inputs_$C);
    //@end
    //@end
  }
  //@repeat R ROWS
  //@repeat C COLUMNS
  let total_$R_$C = subgroupAdd(sum_$R_$C);
  //@end
  //@end
  if (in_subgroup == 0u) {
    //@repeat R ROWS
    //@repeat C COLUMNS
    parts[subgroup * RESULTS + $Cu * ROWS + $Ru] = total_$R_$C;
    //@end
    //@end
  }
  workgroupBarrier();
  for (var result = lane; result < RESULTS; result += WORKGROUP_SIZE) {
    var total = 0.0;
    for (var i = 0u; i < n_subgroups; i++) {
      total += parts[i * RESULTS + result];
    }
    let row = row_first + result % ROWS;
    let column = column_first + result / ROWS;
    if (row <= row_last && column < n_columns) {
      store_output(segment, row, column, total);
    }
  }
}
