"""Evidence that one statistic of the studies is no longer what it was: an e-detector on ranks.

Every value is ranked among all that came before, by a smoothed conformal p-value. As long as the
studies are exchangeable, p-values are independent and uniform, whatever the values' distribution.
A bet on a p-value multiplies what was staked by a number of mean 1. One more unit is staked with
every study, since a change may begin at any. So what a bet is worth after n studies is at most n in
expectation, and so is the mean of several bets. Where it is begun anew whenever it reaches a limit,
n studies without a change reach that n / limit times in expectation, at most; it may be looked at
after every study.

References
----------
Vovk, Gammerman and Shafer, *Algorithmic Learning in a Random World*, 2005, chapter 8: smoothed
conformal p-values. Vovk et al., *Retrain or not retrain*, COPA 2021: conformal Shiryaev-Roberts
procedures. Shin, Ramdas and Rinaldo, *E-detectors*, 2022. Vovk and Wang, *E-values*, Annals of
Statistics 2021: the mean of e-values is one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

# Shifts that are bet on, in standard deviations of a normal score; above 0 values have risen.
BETS = (-2.0, -1.0, -0.5, 0.5, 1.0, 2.0)
# The first values of a statistic are its reference: too few to bet on those that follow.
REFERENCE = 20
_NORMAL = NormalDist()
_LEAST = 2.0**-53  # of a p-value and what it lacks of 1: the resolution of a float below 1


@dataclass(frozen=True)
class Evidence:
    """What one statistic has shown so far.

    Attributes
    ----------
    counts
        Numbers of bins, which rise with the value, and how many studies had a value in each.
    worth
        What each of :data:`BETS` is worth.
    """

    counts: tuple[tuple[int, int], ...] = ()
    worth: tuple[float, ...] = (0.0,) * len(BETS)

    @property
    def studies(self) -> int:
        """Number of studies that it is made of."""
        return sum(count for _, count in self.counts)

    @property
    def value(self) -> float:
        """What all bets are worth together; in expectation at most ``studies`` without a change."""
        return math.fsum(self.worth) / len(self.worth)

    @property
    def risen(self) -> bool:
        """Whether the bets on higher values are worth more than those on lower ones."""
        return math.fsum(w if bet > 0 else -w for bet, w in zip(BETS, self.worth, strict=True)) > 0

    def with_value(self, bin_: int, chance: float) -> Evidence:
        """Bet on one more value, then count it among those that later ones are ranked with.

        Parameters
        ----------
        bin_
            The number of its bin.
        chance
            Uniform in [0, 1), drawn for this value alone: it decides between values of one bin.
        """
        worth = self.worth
        if self.studies >= REFERENCE:
            score = normal_score(self.p_value(bin_, chance))
            worth = tuple(
                (before + 1) * bet_on(score, bet) for bet, before in zip(BETS, worth, strict=True)
            )
        counts = dict(self.counts)
        counts[bin_] = counts.get(bin_, 0) + 1
        return Evidence(tuple(sorted(counts.items())), worth)

    def p_value(self, bin_: int, chance: float) -> float:
        """Rank a value among those before it: small where it is high, in [0, 1).

        It is uniform, and independent of those before, if all values are exchangeable.
        """
        above = sum(count for other, count in self.counts if other > bin_)
        alike = 1 + sum(count for other, count in self.counts if other == bin_)
        return (above + chance * alike) / (self.studies + 1)


def normal_score(p: float) -> float:
    """Give the normal deviate that is exceeded with probability ``p``, in [0, 1]."""
    return -_NORMAL.inv_cdf(min(max(p, _LEAST), 1 - _LEAST))


def bet_on(score: float, shift: float) -> float:
    """Tell what a unit becomes that was bet on a shift; 1 in expectation for a normal score.

    It is the likelihood ratio of the score, moved by ``shift`` against not moved.
    """
    return math.exp(shift * score - shift * shift / 2)
