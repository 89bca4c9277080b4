// Layer norm of the rows that want logits. One workgroup: one row of the step's outputs. Oracle: layer_norm_ref.cpp.
//@import act
//@import step
//@const WORKGROUP_SIZE 128
// Elements of the row that an invocation keeps.
//@const EACH 20
//@import reduce

struct Immediates {
  n_embd: u32,
  stride: u32,  // of a row of `normed`
  epsilon: f32,
}

@group(0) @binding(1) var<storage, read> x: array<f32>;            // [token, n_embd]
@group(0) @binding(2) var<storage, read> vectors: array<f32>;      // weight, bias: [2, n_embd]
@group(0) @binding(3) var<storage, read_write> normed: array<Act>;  // [output row, stride]
var<immediate> immediates: Immediates;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(lane: Lane, @builtin(workgroup_id) workgroup: vec3<u32>) {
  if (workgroup.x >= step_n_outputs()) {
    return;
  }
  let n_embd = immediates.n_embd;
  let begin = step_output(workgroup.x).token * n_embd;
  var row: array<f32, EACH>;
  var sum = 0.0;
  for (var i = 0u; i < EACH; i++) {
    let d = lane.index + i * WORKGROUP_SIZE;
    if (d < n_embd) {
      row[i] = x[begin + d];
    }
    sum += row[i];
  }
  let mean = workgroup_sum(vec4(sum, 0.0, 0.0, 0.0), lane).x / f32(n_embd);
  var squares = 0.0;
  for (var i = 0u; i < EACH; i++) {
    row[i] -= mean;
    if (lane.index + i * WORKGROUP_SIZE < n_embd) {
      squares += row[i] * row[i];
    }
  }
  let variance = workgroup_sum(vec4(squares, 0.0, 0.0, 0.0), lane).x / f32(n_embd);
  let scale = 1.0 / sqrt(variance + immediates.epsilon);
  for (var i = 0u; i < EACH; i++) {
    let d = lane.index + i * WORKGROUP_SIZE;
    if (d < n_embd) {
      normed[workgroup.x * immediates.stride + d] = Act(row[i] * scale * vectors[d] + vectors[n_embd + d]);
    }
  }
}
