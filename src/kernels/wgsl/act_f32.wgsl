// Activations between kernels: f32 (tier T0).
alias Act = f32;
alias Act4 = vec4<f32>;
