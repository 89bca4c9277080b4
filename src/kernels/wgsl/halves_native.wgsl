// The two f16 of a packed word as f32, converted by the GPU, which may flush subnormal ones: for kernels that are not used unless the
// self-test, whose weights have such scales, has passed.
enable f16;
fn halves(word: u32) -> vec2<f32> { return vec2<f32>(bitcast<vec2<f16>>(word)); }
