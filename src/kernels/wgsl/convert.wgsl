// Packed rows of weights in another format: f16, rounded to nearest even, or f32. One invocation: an octet.
// Oracle: dequantize in format/weight_format.hpp, f32_to_f16 in base/half.hpp.
//@import format
//@import rows
//@const WORKGROUP_SIZE 256
//@const TO_F32 0

struct Immediates {
  n_octets: u32,    // of all rows
  row_octets: u32,  // of a row, padding and all
  n_in: u32,
  row_words: u32,   // of `weights`
  source: u32,      // word of the first row in `weights`
  to: u32,          // and in `rows`
}

@group(0) @binding(0) var<storage, read> weights: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> rows: array<u32>;
var<immediate> immediates: Immediates;

fn half_bits(value: f32) -> u32 {
  let bits = bitcast<u32>(value);
  let sign = (bits >> 16u) & 0x8000u;
  let magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) {
    return sign | 0x7e00u;
  }
  if (magnitude >= 0x477ff000u) {
    return sign | 0x7c00u;
  }
  if (magnitude < 0x38800000u) {
    // Subnormal: units of 2^-24.
    let shift = 126u - (magnitude >> 23u);
    let mantissa = (magnitude & 0x7fffffu) | 0x800000u;
    if (shift > 24u) {
      return sign;
    }
    return sign | ((mantissa + (1u << (shift - 1u)) - 1u + ((mantissa >> shift) & 1u)) >> shift);
  }
  return sign | ((magnitude + 0xfffu + ((magnitude >> 13u) & 1u) - 0x38000000u) >> 13u);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let octet = (workgroup.x + workgroup.y * grid.x) * WORKGROUP_SIZE + lane;
  if (octet >= immediates.n_octets) {
    return;
  }
  let row = octet / immediates.row_octets;
  let source = immediates.source + row_at(row, immediates.row_words);
  let values = decode8(source, immediates.n_in, octet % immediates.row_octets * 8u);
  for (var i = 0u; i < 4u; i++) {
    let low = octet_at(values, 2u * i);
    let high = octet_at(values, 2u * i + 1u);
    if (TO_F32 == 1u) {
      rows[immediates.to + octet * 8u + 2u * i] = bitcast<u32>(low);
      rows[immediates.to + octet * 8u + 2u * i + 1u] = bitcast<u32>(high);
    } else {
      rows[immediates.to + octet * 4u + i] = half_bits(low) | (half_bits(high) << 16u);
    }
  }
}
