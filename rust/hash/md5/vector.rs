//! The common code of the vector backends: everything except the instructions.

/// Defines `compress` of a [`Kernel`](super::backend::Kernel) with groups of `LANES` lanes, for
/// the processor feature `$feature`.
///
/// The caller must have in scope the items for [`rounds!`], the type `Vector` of `LANES` words, the
/// functions `load(&[u32; LANES])` and `store(&mut [u32; LANES], Vector)`, and
/// `transpose([&Block; LANES])`, which makes vector `w` of the words `w` of all blocks.
macro_rules! vector_kernel {
    ($feature:literal) => {
        /// `LANES` messages: their state, and the block they are at.
        struct Group {
            state: [Vector; 4],
            a: Vector,
            b: Vector,
            c: Vector,
            d: Vector,
            words: [Vector; 16],
        }

        impl Group {
            #[inline]
            #[target_feature(enable = $feature)]
            fn load(state: &State, group: usize) -> Self {
                let [a, b, c, d] = [
                    load(&state.0[0].as_chunks().0[group]),
                    load(&state.0[1].as_chunks().0[group]),
                    load(&state.0[2].as_chunks().0[group]),
                    load(&state.0[3].as_chunks().0[group]),
                ];
                Self { state: [a, b, c, d], a, b, c, d, words: [a; 16] }
            }

            #[inline]
            #[target_feature(enable = $feature)]
            fn store(&self, state: &mut State, group: usize) {
                for (row, vector) in state.0.iter_mut().zip(self.state) {
                    store(&mut row.as_chunks_mut().0[group], vector);
                }
            }

            #[inline]
            #[target_feature(enable = $feature)]
            fn end_block(&mut self) {
                self.a = add(self.a, self.state[0]);
                self.b = add(self.b, self.state[1]);
                self.c = add(self.c, self.state[2]);
                self.d = add(self.d, self.state[3]);
                self.state = [self.a, self.b, self.c, self.d];
            }
        }

        #[target_feature(enable = $feature)]
        fn compress(state: &mut State, inputs: &[&[Block]], count: usize) {
            assert!(inputs.iter().all(|blocks| blocks.len() >= count));
            match inputs.as_chunks::<LANES>() {
                ([x_inputs], []) => {
                    let mut x = Group::load(state, 0);
                    for n in 0..count {
                        x.words = transpose(x_inputs.map(|blocks| &blocks[n]));
                        rounds!(x);
                        x.end_block();
                    }
                    x.store(state, 0);
                }
                ([x_inputs, y_inputs], []) => {
                    let mut x = Group::load(state, 0);
                    let mut y = Group::load(state, 1);
                    for n in 0..count {
                        x.words = transpose(x_inputs.map(|blocks| &blocks[n]));
                        y.words = transpose(y_inputs.map(|blocks| &blocks[n]));
                        rounds!(x y);
                        x.end_block();
                        y.end_block();
                    }
                    x.store(state, 0);
                    y.store(state, 1);
                }
                _ => unreachable!("one or two groups of lanes"),
            }
        }
    };
}
