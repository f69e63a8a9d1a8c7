//! From the probability of a tail to a number of standard deviations.
//!
//! Algorithm AS 241, PPND16: M. J. Wichura, "The Percentage Points of the Normal Distribution",
//! Applied Statistics 37 (1988). Its relative error is about 10⁻¹⁶.

/// A quotient of polynomials of degree 7: coefficients from the lowest power on. The constant term
/// of the denominator is 1.
struct Rational {
    numerator: [f64; 8],
    denominator: [f64; 8],
}

impl Rational {
    fn at(&self, x: f64) -> f64 {
        let polynomial =
            |terms: &[f64; 8]| terms.iter().rev().fold(0.0, |sum, term| sum * x + term);
        polynomial(&self.numerator) / polynomial(&self.denominator)
    }
}

/// For probabilities near ½, in 0.180625 - q².
const CENTER: Rational = Rational {
    numerator: [
        3.387_132_872_796_366_5,
        133.141_667_891_784_38,
        1_971.590_950_306_551_3,
        13_731.693_765_509_46,
        45_921.953_931_549_87,
        67_265.770_927_008_7,
        33_430.575_583_588_13,
        2_509.080_928_730_122_7,
    ],
    denominator: [
        1.0,
        42.313_330_701_600_91,
        687.187_007_492_057_9,
        5_394.196_021_424_751,
        21_213.794_301_586_597,
        39_307.895_800_092_71,
        28_729.085_735_721_943,
        5_226.495_278_852_854,
    ],
};
/// For tails down to e⁻²⁵, in √(-ln p) - 1.6.
const TAIL: Rational = Rational {
    numerator: [
        1.423_437_110_749_683_5,
        4.630_337_846_156_546,
        5.769_497_221_460_691,
        3.647_848_324_763_204_5,
        1.270_458_252_452_368_4,
        0.241_780_725_177_450_6,
        0.022_723_844_989_269_184,
        7.745_450_142_783_414e-4,
    ],
    denominator: [
        1.0,
        2.053_191_626_637_759,
        1.676_384_830_183_803_8,
        0.689_767_334_985_1,
        0.148_103_976_427_480_08,
        0.015_198_666_563_616_457,
        5.475_938_084_995_345e-4,
        1.050_750_071_644_416_9e-9,
    ],
};
/// For tails beyond, in √(-ln p) - 5.
const FAR_TAIL: Rational = Rational {
    numerator: [
        6.657_904_643_501_103,
        5.463_784_911_164_114,
        1.784_826_539_917_291_3,
        0.296_560_571_828_504_87,
        0.026_532_189_526_576_124,
        1.242_660_947_388_078_4e-3,
        2.711_555_568_743_487_6e-5,
        2.010_334_399_292_288_1e-7,
    ],
    denominator: [
        1.0,
        0.599_832_206_555_888,
        0.136_929_880_922_735_8,
        0.014_875_361_290_850_615,
        7.868_691_311_456_133e-4,
        1.846_318_317_510_054_8e-5,
        1.421_511_758_316_446e-7,
        2.044_263_103_389_939_8e-15,
    ],
};

/// Returns the z with P(Z > z) = `upper` and P(Z < z) = `lower`, Z standard normal. The two add up
/// to 1; the smaller one is used, so that both tails are as precise as they are given.
pub fn z_of(lower: f64, upper: f64) -> f64 {
    let distance = lower - 0.5;
    if distance.abs() <= 0.425 {
        return distance * CENTER.at(0.180_625 - distance * distance);
    }
    let tail = lower.min(upper).max(f64::MIN_POSITIVE);
    let root = (-libm::log(tail)).sqrt();
    let z = if root <= 5.0 { TAIL.at(root - 1.6) } else { FAR_TAIL.at(root - 5.0) };
    if lower < upper { -z } else { z }
}

#[cfg(test)]
mod tests {
    use super::z_of;

    #[test]
    fn quantiles_are_those_of_tables() {
        // R: qnorm(p, lower.tail = FALSE)
        for (upper, z) in [
            (0.5, 0.0),
            (0.4, 0.253_347_103_135_799_8),
            (0.025, 1.959_963_984_540_054),
            (0.001_349_898_031_630_094_6, 3.0),
            (3.167_124_183_311_986e-5, 4.0),
            (9.865_876_450_376_946e-10, 6.0),
            (1e-20, 9.262_340_089_798_409),
            (1e-100, 21.273_453_560_127_18),
        ] {
            assert!((z_of(1.0 - upper, upper) - z).abs() < 1e-8, "{upper}");
            assert!((z_of(upper, 1.0 - upper) + z).abs() < 1e-8, "{upper}");
        }
        assert!(z_of(1.0, 0.0).is_finite() && z_of(0.0, 1.0).is_finite());
    }
}
