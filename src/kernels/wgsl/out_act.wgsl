// Results of a matrix product as activations.
//@import act
alias Out = Act;
