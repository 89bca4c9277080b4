// Activations between kernels: f32 (tier T0). Eight of them are read at a time, as weights are.
//@import octet
alias Act = f32;
alias Act8 = array<vec4<f32>, 2>;
fn octet_of_act8(values: Act8) -> Octet { return Octet(values[0], values[1]); }
