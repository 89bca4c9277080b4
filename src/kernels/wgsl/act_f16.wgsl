// Activations between kernels: f16 (tier T1).
enable f16;
alias Act = f16;
alias Act4 = vec4<f16>;
