// Activations between kernels: f16 (tier T1). Eight of them are read at a time, as weights are.
enable f16;
//@import octet
alias Act = f16;
alias Act8 = vec4<u32>;
fn octet_of_act8(values: Act8) -> Octet {
  return Octet(vec4(unpack2x16float(values.x), unpack2x16float(values.y)), vec4(unpack2x16float(values.z), unpack2x16float(values.w)));
}
