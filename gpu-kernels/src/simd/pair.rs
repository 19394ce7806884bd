//! Sixteen lanes as two times eight, for paths whose vectors are no wider.

/// The sixteen-lane half of [`super::Lanes`] with `F16 = (F8, F8)`, for paths that have `max8`, `round8` and `scale8`
/// of their own.
macro_rules! sixteen_as_two_eights {
    () => {
        #[inline(always)]
        fn load16(self, from: &[f32; 16]) -> Self::F16 {
            let [low, high] = from.as_chunks::<8>().0 else { unreachable!("sixteen are two eights") };
            (self.load8(low), self.load8(high))
        }

        #[inline(always)]
        fn store16(self, value: Self::F16, to: &mut [f32; 16]) {
            let [low, high] = to.as_chunks_mut::<8>().0 else { unreachable!("sixteen are two eights") };
            self.store8(value.0, low);
            self.store8(value.1, high);
        }

        #[inline(always)]
        fn splat16(self, value: f32) -> Self::F16 {
            (self.splat8(value), self.splat8(value))
        }

        #[inline(always)]
        fn add16(self, a: Self::F16, b: Self::F16) -> Self::F16 {
            (self.add8(a.0, b.0), self.add8(a.1, b.1))
        }

        #[inline(always)]
        fn sub16(self, a: Self::F16, b: Self::F16) -> Self::F16 {
            (self.sub8(a.0, b.0), self.sub8(a.1, b.1))
        }

        #[inline(always)]
        fn mul16(self, a: Self::F16, b: Self::F16) -> Self::F16 {
            (self.mul8(a.0, b.0), self.mul8(a.1, b.1))
        }

        #[inline(always)]
        fn div16(self, a: Self::F16, b: Self::F16) -> Self::F16 {
            (self.div8(a.0, b.0), self.div8(a.1, b.1))
        }

        #[inline(always)]
        fn sqrt16(self, value: Self::F16) -> Self::F16 {
            (self.sqrt8(value.0), self.sqrt8(value.1))
        }

        #[inline(always)]
        fn fma16(self, a: Self::F16, b: Self::F16, c: Self::F16) -> Self::F16 {
            (self.fma8(a.0, b.0, c.0), self.fma8(a.1, b.1, c.1))
        }

        #[inline(always)]
        fn clamp16(self, value: Self::F16, bound: Self::F16) -> Self::F16 {
            (self.clamp8(value.0, bound.0), self.clamp8(value.1, bound.1))
        }

        #[inline(always)]
        fn max16(self, a: Self::F16, b: Self::F16) -> Self::F16 {
            (self.max8(a.0, b.0), self.max8(a.1, b.1))
        }

        #[inline(always)]
        fn round16(self, value: Self::F16) -> Self::F16 {
            (self.round8(value.0), self.round8(value.1))
        }

        #[inline(always)]
        fn scale16(self, value: Self::F16, exponent: Self::F16) -> Self::F16 {
            (self.scale8(value.0, exponent.0), self.scale8(value.1, exponent.1))
        }

        #[inline(always)]
        fn halves(self, value: Self::F16) -> (Self::F8, Self::F8) {
            value
        }

        #[inline(always)]
        fn twice(self, value: Self::F8) -> Self::F16 {
            (value, value)
        }
    };
}

pub(super) use sixteen_as_two_eights;
