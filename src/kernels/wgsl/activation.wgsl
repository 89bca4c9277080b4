// What is done to a product's elements before they are stored; the host's side is kernels/activation.hpp.
const SQUARE_UNIT = 256.0;

fn logistic(value: f32) -> f32 { return 1.0 / (1.0 + exp(-value)); }

fn activate_number(value: f32, activation: u32) -> f32 {
  switch activation {
    case 1u: { return tanh(clamp(value, -20.0, 20.0)); }
    case 2u: { return logistic(value); }
    case 3u: { return max(value, 0.0) * max(value, 0.0) / SQUARE_UNIT; }
    default: { return value; }
  }
}

// NaN stays NaN, which clamp and max may make a number of: a damaged weight is to be seen in the logits. Told by its
// bits, because arithmetic may assume that there is none.
fn activate(value: f32, activation: u32) -> f32 {
  let is_nan = (bitcast<u32>(value) & 0x7fffffffu) > 0x7f800000u;
  return select(activate_number(value, activation), value, is_nan);
}
