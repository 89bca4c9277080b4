// One vector for a text: the residual stream of its last token, or the sum over its tokens, each normed first or as it is.
// Tokens are added in their order, so that chunks of any length give the same bits.
// One workgroup: one chunk. Oracle: pool_ref.cpp.
//@import step
//@const WORKGROUP_SIZE 128
// Elements of a row that an invocation keeps.
//@const EACH 20
//@const MEAN 1
//@const NORMED 1
//@import reduce

struct Immediates {
  n_embd: u32,
  epsilon: f32,
}

@group(0) @binding(1) var<storage, read> x: array<f32>;             // [token, n_embd]
@group(0) @binding(2) var<storage, read> vectors: array<f32>;       // weight, bias: [2, n_embd]
@group(0) @binding(3) var<storage, read_write> pooled: array<f32>;  // [slot, n_embd]
var<immediate> immediates: Immediates;

// Elements of four tokens, of which an invocation has every WORKGROUP_SIZE-th.
alias Rows = array<vec4<f32>, EACH>;

fn normed_rows(rows: Rows, lane: Lane) -> Rows {
  let n = immediates.n_embd;
  var result = rows;
  var sums = vec4<f32>();
  for (var i = 0u; i < EACH; i++) {
    sums += result[i];
  }
  let means = workgroup_sum(sums, lane) / f32(n);
  var squares = vec4<f32>();
  for (var i = 0u; i < EACH; i++) {
    result[i] -= means;
    if (lane.index + i * WORKGROUP_SIZE < n) {
      squares += result[i] * result[i];
    }
  }
  let scales = 1.0 / sqrt(workgroup_sum(squares, lane) / f32(n) + immediates.epsilon);
  for (var i = 0u; i < EACH; i++) {
    let d = lane.index + i * WORKGROUP_SIZE;
    if (d < n) {
      result[i] = result[i] * scales * vectors[d] + vectors[n + d];
    }
  }
  return result;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(lane: Lane, @builtin(workgroup_id) workgroup: vec3<u32>) {
  if (workgroup.x >= step_n_chunks()) {
    return;
  }
  let chunk = step_chunk(workgroup.x);
  if (chunk.count == 0u) {
    return;
  }
  let n = immediates.n_embd;
  let to = chunk.slot * n;
  var totals: array<f32, EACH>;
  if (MEAN == 1u && chunk.after == GOES_ON) {
    for (var i = 0u; i < EACH; i++) {
      let d = lane.index + i * WORKGROUP_SIZE;
      if (d < n) {
        totals[i] = pooled[to + d];
      }
    }
  }
  for (var t = select(chunk.count - 1u, 0u, MEAN == 1u); t < chunk.count; t += 4u) {
    let tokens = (chunk.first + min(vec4(t, t + 1u, t + 2u, t + 3u), vec4(chunk.count - 1u))) * n;
    var rows: Rows;
    for (var i = 0u; i < EACH; i++) {
      let d = lane.index + i * WORKGROUP_SIZE;
      rows[i] = vec4<f32>();  // a variable of a loop was seen to keep what the turn before left in it
      if (d < n) {
        rows[i] = vec4(x[tokens.x + d], x[tokens.y + d], x[tokens.z + d], x[tokens.w + d]);
      }
    }
    if (NORMED == 1u) {
      rows = normed_rows(rows, lane);
    }
    let n_rows = min(chunk.count - t, 4u);
    for (var i = 0u; i < EACH; i++) {
      for (var row = 0u; row < n_rows; row++) {
        totals[i] += rows[i][row];
      }
    }
  }
  for (var i = 0u; i < EACH; i++) {
    let d = lane.index + i * WORKGROUP_SIZE;
    if (d < n) {
      pooled[to + d] = totals[i];
    }
  }
}
