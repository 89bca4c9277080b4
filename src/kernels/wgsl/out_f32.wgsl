// Results of a matrix product in f32: the residual stream, logits.
alias Out = f32;
