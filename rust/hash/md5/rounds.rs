//! The 64 steps of MD5, written once for every kind of word: `u32` and the vectors.

/// The sines of RFC 1321, section 3.4: `floor(2^32 * abs(sin(step + 1)))`.
#[rustfmt::skip]
pub(super) const SINES: [u32; 64] = [
    0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501,
    0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821,
    0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
    0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a,
    0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70,
    0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
    0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1,
    0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391,
];

/// The index of the word of a block that a step uses.
pub(super) const fn word(step: usize) -> usize {
    match step / 16 {
        0 => step,
        1 => (5 * step + 1) % 16,
        2 => (3 * step + 5) % 16,
        _ => (7 * step) % 16,
    }
}

/// Runs the 64 steps on each named group, whose fields are the words `a`, `b`, `c`, `d` of the
/// state and the `words` of the block.
///
/// Several groups are interleaved step by step: a step waits for the one before it, so a second
/// group uses the units that the first one leaves idle.
///
/// The caller has in scope, for its kind of word: `add`, `rotate_left::<N>`, `splat` and the
/// functions `f`, `g`, `h` and `i` of the RFC.
macro_rules! rounds {
    ($($group:ident)+) => {{
        // If the compiler knows a sine, it adds it last, so every step waits for one more
        // addition: one stream is 20 % slower.
        let sines = ::std::hint::black_box(&SINES);
        round!(sines [$($group)+] f 0 [7 12 17 22]);
        round!(sines [$($group)+] g 16 [5 9 14 20]);
        round!(sines [$($group)+] h 32 [4 11 16 23]);
        round!(sines [$($group)+] i 48 [6 10 15 21]);
    }};
}

/// 16 steps: four times four, in which the words of the state rotate.
macro_rules! round {
    ($sines:ident $groups:tt $function:ident $first:literal $shifts:tt) => {
        four_steps!($sines $groups $function ($first) $shifts);
        four_steps!($sines $groups $function ($first + 4) $shifts);
        four_steps!($sines $groups $function ($first + 8) $shifts);
        four_steps!($sines $groups $function ($first + 12) $shifts);
    };
}

macro_rules! four_steps {
    ($sines:ident $groups:tt $function:ident $step:tt [$s0:literal $s1:literal $s2:literal $s3:literal]) => {
        step!($sines $groups $function a b c d ($step) $s0);
        step!($sines $groups $function d a b c ($step + 1) $s1);
        step!($sines $groups $function c d a b ($step + 2) $s2);
        step!($sines $groups $function b c d a ($step + 3) $s3);
    };
}

/// One step. Only the function depends on the step before (through `b`), so it is added last.
macro_rules! step {
    ($sines:ident [$($group:ident)+] $function:ident $a:ident $b:ident $c:ident $d:ident
     $step:tt $shift:literal) => {
        $(
            let sum = add(
                add($group.$a, add($group.words[const { word($step) }], splat($sines[$step]))),
                $function($group.$b, $group.$c, $group.$d),
            );
            $group.$a = add($group.$b, rotate_left::<$shift>(sum));
        )+
    };
}
