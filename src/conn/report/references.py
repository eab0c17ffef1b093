"""Works that the methods text refers to."""

from __future__ import annotations

from dataclasses import dataclass

from conn.confounds import takes_components
from conn.report import (
    association_words,
    inference_words,
    mediation_words,
    replication_words,
    responders_section,
    undone,
)
from conn.report.contract import Outputs


@dataclass(frozen=True)
class Reference:
    """A work cited, and for what."""

    text: str
    doi: str = ""
    address: str = ""

    @property
    def link(self) -> str:
        """Where it is found."""
        return self.address or f"https://doi.org/{self.doi}"

    @property
    def name(self) -> str:
        """What the link is called."""
        return f"doi:{self.doi}" if self.doi else self.address.removeprefix("https://")


WANG = Reference(
    "Wang H-T et al. Continuous evaluation of denoising strategies in resting-state fMRI connectivity using "
    "fMRIPrep and Nilearn. PLOS Computational Biology 20, e1011942 (2024).",
    "10.1371/journal.pcbi.1011942",
)
FMRIPREP = Reference(
    "Esteban O et al. fMRIPrep: a robust preprocessing pipeline for functional MRI. Nature Methods 16, "
    "111-116 "
    "(2019).",
    "10.1038/s41592-018-0235-4",
)
WINKLER = Reference(
    "Winkler AM et al. Permutation inference for the general linear model. NeuroImage 92, 381-397 (2014).",
    "10.1016/j.neuroimage.2014.01.060",
)
HOLM = Reference(
    "Holm S. A simple sequentially rejective multiple test procedure. Scandinavian Journal of Statistics "
    "6, 65-70 "
    "(1979).",
    address="https://www.jstor.org/stable/4615733",
)
COMPCOR = Reference(
    "Behzadi Y et al. A component based noise correction method (CompCor) for BOLD and perfusion based fMRI. "
    "NeuroImage 37, 90-101 (2007).",
    "10.1016/j.neuroimage.2007.04.042",
)
ROY = Reference(
    "Roy AK et al. Functional connectivity of the human amygdala using resting state fMRI. NeuroImage 45, "
    "614-626 (2009).",
    "10.1016/j.neuroimage.2008.11.030",
)
SMITH = Reference(
    "Smith SM, Nichols TE. Threshold-free cluster enhancement: addressing problems of smoothing, threshold "
    "dependence and localisation in cluster inference. NeuroImage 2009.",
    "10.1016/j.neuroimage.2008.03.061",
)
AFYOUNI = Reference(
    "Afyouni S, Smith SM, Nichols TE. Effective degrees of freedom of the Pearson's correlation coefficient "
    "under autocorrelation. NeuroImage 199, 609-625 (2019).",
    "10.1016/j.neuroimage.2019.05.011",
)
NILEARN = Reference("Nilearn contributors. Nilearn.", "10.5281/zenodo.8397156")
ICBM = Reference(
    "Fonov V et al. Unbiased average age-appropriate atlases for pediatric studies. NeuroImage 54, "
    "313-327 (2011).",
    "10.1016/j.neuroimage.2010.07.033",
)
SNAKEMAKE = Reference(
    "Mölder F et al. Sustainable data analysis with Snakemake. F1000Research 10, 33 (2021).",
    "10.12688/f1000research.29032.2",
)
OPACITY = Reference(
    "Taylor PA et al. Highlight results, don't hide them: enhance interpretation, reduce biases and improve "
    "reproducibility. NeuroImage 274, 120138 (2023).",
    "10.1016/j.neuroimage.2023.120138",
)


HOTELLING = Reference(
    "Hotelling H. The generalization of Student's ratio. Annals of Mathematical Statistics 2, 360-378 "
    "(1931).",
    "10.1214/aoms/1177732979",
)
WELCH = Reference(
    "Welch BL. On the comparison of several mean values: an alternative approach. Biometrika 38, 330-336 "
    "(1951).",
    "10.1093/biomet/38.3-4.330",
)
JOHANSEN = Reference(
    "Johansen S. The Welch-James approximation to the distribution of the residual sum of squares in a "
    "weighted linear regression. Biometrika 67, 85-92 (1980).",
    "10.1093/biomet/67.1.85",
)
YU = Reference(
    "Krishnamoorthy K, Yu J. Modified Nel and Van der Merwe test for the multivariate Behrens-Fisher "
    "problem. Statistics & Probability Letters 66, 161-169 (2004).",
    "10.1016/j.spl.2003.10.012",
)
MACKINNON = Reference(
    "MacKinnon JG, White H. Some heteroskedasticity-consistent covariance matrix estimators with improved "
    "finite sample properties. Journal of Econometrics 29, 305-325 (1985).",
    "10.1016/0304-4076(85)90158-7",
)
DICICCIO = Reference(
    "DiCiccio CJ, Romano JP. Robust permutation tests for correlation and regression coefficients. Journal "
    "of the American Statistical Association 112, 1211-1220 (2017).",
    "10.1080/01621459.2016.1202117",
)
FREEDMAN = Reference(
    "Freedman D, Lane D. A nonstochastic interpretation of reported significance levels. Journal of Business "
    "& Economic Statistics 1, 292-298 (1983).",
    "10.2307/1391660",
)
FREEMAN = Reference(
    "Freeman PR. The performance of the two-stage analysis of two-treatment, two-period crossover trials. "
    "Statistics in Medicine 8, 1421-1432 (1989).",
    "10.1002/sim.4780081202",
)
LORD = Reference(
    "Lord FM. A paradox in the interpretation of group comparisons. Psychological Bulletin 68, 304-305 "
    "(1967).",
    "10.1037/h0025105",
)
MARCUS = Reference(
    "Marcus R, Peritz E, Gabriel KR. On closed testing procedures with special reference to ordered analysis "
    "of variance. Biometrika 63, 655-660 (1976).",
    "10.1093/biomet/63.3.655",
)
TAIL = Reference(
    "Winkler AM, Ridgway GR, Douaud G, Nichols TE, Smith SM. Faster permutation inference in brain imaging. "
    "NeuroImage 141, 502-516 (2016).",
    "10.1016/j.neuroimage.2016.05.068",
)
SCHUIRMANN = Reference(
    "Schuirmann DJ. A comparison of the two one-sided tests procedure and the power approach for assessing "
    "the "
    "equivalence of average bioavailability. Journal of Pharmacokinetics and Biopharmaceutics 15, 657-680 "
    "(1987).",
    "10.1007/BF01068419",
)
BAGGIO = Reference(
    "Baggio HC et al. Statistical inference in brain graphs using threshold-free network-based statistics. "
    "Human Brain Mapping 39, 2289-2302 (2018).",
    "10.1002/hbm.24007",
)
ZALESKY = Reference(
    "Zalesky A, Fornito A, Bullmore ET. Network-based statistic: identifying differences in brain networks. "
    "NeuroImage 53, 1197-1207 (2010).",
    "10.1016/j.neuroimage.2010.06.041",
)
BATES = Reference(
    "Bates S, Hastie T, Tibshirani R. Cross-validation: what does it estimate and how well does it do it? "
    "Journal of the American Statistical Association 119, 1434-1445 (2024).",
    "10.1080/01621459.2023.2197686",
)
NADEAU = Reference(
    "Nadeau C, Bengio Y. Inference for the generalization error. Machine Learning 52, 239-281 (2003).",
    "10.1023/A:1024068626366",
)
NEWCOMBE = Reference(
    "Newcombe RG. Confidence intervals for an effect size measure based on the Mann-Whitney statistic. "
    "Part 2: Asymptotic methods and evaluation. Statistics in Medicine 25, 559-573 (2006).",
    "10.1002/sim.2324",
)
DELONG = Reference(
    "DeLong ER, DeLong DM, Clarke-Pearson DL. Comparing the areas under two or more correlated receiver "
    "operating characteristic curves: a nonparametric approach. Biometrics 44, 837-845 (1988).",
    "10.2307/2531595",
)
JOHNSON = Reference(
    "Johnson WE, Li C, Rabinovic A. Adjusting batch effects in microarray expression data using empirical "
    "Bayes methods. Biostatistics 8, 118-127 (2007).",
    "10.1093/biostatistics/kxj037",
)


LOCKWOOD = Reference(
    "MacKinnon DP, Lockwood CM, Hoffman JM, West SG, Sheets V. A comparison of methods to test mediation and "
    "other intervening variable effects. Psychological Methods 7, 83-104 (2002).",
    "10.1037/1082-989X.7.1.83",
)
IMAI = Reference(
    "Imai K, Keele L, Yamamoto T. Identification, inference and sensitivity analysis for causal mediation "
    "effects. Statistical Science 25, 51-71 (2010).",
    "10.1214/10-STS321",
)
HESTERBERG = Reference(
    "Hesterberg TC. What teachers should know about the bootstrap: resampling in the undergraduate "
    "statistics curriculum. American Statistician 69, 371-386 (2015).",
    "10.1080/00031305.2015.1089789",
)
PREACHER = Reference(
    "Preacher KJ, Hayes AF. Asymptotic and resampling strategies for assessing and comparing indirect "
    "effects in multiple mediator models. Behavior Research Methods 40, 879-891 (2008).",
    "10.3758/BRM.40.3.879",
)
MONTOYA = Reference(
    "Montoya AK, Hayes AF. Two-condition within-participant statistical mediation analysis: a path-analytic "
    "framework. Psychological Methods 22, 6-27 (2017).",
    "10.1037/met0000086",
)
EFRON = Reference(
    "Efron B. Better bootstrap confidence intervals. Journal of the American Statistical Association 82, "
    "171-185 (1987).",
    "10.1080/01621459.1987.10478410",
)
WILCOX = Reference(
    "Wilcox RR. The percentage bend correlation coefficient. Psychometrika 59, 601-616 (1994).",
    "10.1007/BF02294395",
)
BENJAMINI = Reference(
    "Benjamini Y, Hochberg Y. Controlling the false discovery rate: a practical and powerful approach to "
    "multiple testing. Journal of the Royal Statistical Society, Series B 57, 289-300 (1995).",
    "10.1111/j.2517-6161.1995.tb02031.x",
)
SPEARMAN = Reference(
    "Spearman C. The proof and measurement of association between two things. American Journal of Psychology "
    "15, 72-101 (1904).",
    "10.2307/1412159",
)
SPEARMAN_HALVES = Reference(
    "Spearman C. Correlation calculated from faulty data. British Journal of Psychology 3, 271-295 (1910).",
    "10.1111/j.2044-8295.1910.tb00206.x",
)
BROWN = Reference(
    "Brown W. Some experimental results in the correlation of mental abilities. British Journal of "
    "Psychology 3, 296-322 (1910).",
    "10.1111/j.2044-8295.1910.tb00207.x",
)
SHROUT = Reference(
    "Shrout PE, Fleiss JL. Intraclass correlations: uses in assessing rater reliability. Psychological "
    "Bulletin 86, 420-428 (1979).",
    "10.1037/0033-2909.86.2.420",
)
MCGRAW = Reference(
    "McGraw KO, Wong SP. Forming inferences about some intraclass correlation coefficients. Psychological "
    "Methods 1, 30-46 (1996).",
    "10.1037/1082-989X.1.1.30",
)
WEIR = Reference(
    "Weir JP. Quantifying test-retest reliability using the intraclass correlation coefficient and the SEM. "
    "Journal of Strength and Conditioning Research 19, 231-240 (2005).",
    "10.1519/15184.1",
)
OLDHAM = Reference(
    "Oldham PD. A note on the analysis of repeated measurements of the same subjects. Journal of Chronic "
    "Diseases 15, 969-977 (1962).",
    "10.1016/0021-9681(62)90116-9",
)
PITMAN = Reference(
    "Pitman EJG. A note on normal correlation. Biometrika 31, 9-12 (1939).",
    "10.1093/biomet/31.1-2.9",
)
MORGAN = Reference(
    "Morgan WA. A test for the significance of the difference between two variances in a sample from a "
    "normal bivariate population. Biometrika 31, 13-19 (1939).",
    "10.1093/biomet/31.1-2.13",
)


def of_clinic(outputs: Outputs) -> list[Reference]:
    """Works on clinical analyses, as their paragraphs of the methods text name them."""
    return list(
        dict.fromkeys(
            [
                *_of_coupling(outputs),
                *_of_associations(outputs),
                *of_mediation(outputs),
                *_of_predictions(outputs),
                *_of_reliability(outputs),
                *of_replication(outputs),
            ]
        )
    )


def _of_coupling(outputs: Outputs) -> list[Reference]:
    return [OLDHAM, PITMAN, MORGAN] if responders_section.ran(outputs) else []


def _of_associations(outputs: Outputs) -> list[Reference]:
    asked = outputs.config.associations
    used = [FREEDMAN, WINKLER, HOLM, BENJAMINI, WILCOX] if asked else []
    used += [MACKINNON, DICICCIO] if association_words.has_robust_slopes(outputs) else []
    used += [EFRON] if association_words.has_intervals(outputs) else []
    return used + ([SPEARMAN] if association_words.has_ceiling(outputs) else [])


def _of_reliability(outputs: Outputs) -> list[Reference]:
    asked = outputs.config.reliability.values()
    used = [SHROUT, MCGRAW, WEIR] if any(one.stable is not None for one in asked) else []
    return used + ([SPEARMAN_HALVES, BROWN] if any(one.split_half for one in asked) else [])


def of_mediation(outputs: Outputs) -> list[Reference]:
    """Works on mediation analyses that ran."""
    settings = [result.settings for result in mediation_words.ran(outputs)]
    asked = (
        (FREEDMAN, bool(settings)),
        (WINKLER, bool(settings)),
        (LOCKWOOD, any(result.record["families"] for result in mediation_words.ran(outputs))),
        (IMAI, bool(settings)),
        (HESTERBERG, bool(settings)),
        (PREACHER, any(one.together for one in settings)),
        (MONTOYA, any(one.crossover for one in settings)),
    )
    return [reference for reference, wanted in asked if wanted]


MEIER = Reference("Meier P. Variance of a weighted mean. Biometrics 9, 59-73 (1953).", "10.2307/3001633")
VIECHTBAUER = Reference(
    "Viechtbauer W. Confidence intervals for the amount of heterogeneity in meta-analysis. Statistics in "
    "Medicine 26, 37-52 (2007).",
    "10.1002/sim.2514",
)
HELLER = Reference(
    "Benjamini Y, Heller R. Screening for partial conjunction hypotheses. Biometrics 64, 1215-1222 (2008).",
    "10.1111/j.1541-0420.2007.00984.x",
)
PAULE = Reference(
    "Paule RC, Mandel J. Consensus values and weighting factors. Journal of Research of the National Bureau "
    "of Standards 87, 377-385 (1982).",
    "10.6028/jres.087.022",
)
ROEVER = Reference(
    "Röver C, Knapp G, Friede T. Hartung-Knapp-Sidik-Jonkman approach and its modification for "
    "random-effects meta-analysis with few studies. BMC Medical Research Methodology 15, 99 (2015).",
    "10.1186/s12874-015-0091-1",
)
HIGGINS = Reference(
    "Higgins JPT, Thompson SG, Spiegelhalter DJ. A re-evaluation of random-effects meta-analysis. Journal of "
    "the Royal Statistical Society A 172, 137-159 (2009).",
    "10.1111/j.1467-985X.2008.00552.x",
)


ZAYKIN = Reference(
    "Zaykin DV. Optimally weighted Z-test is a powerful method for combining probabilities in meta-analysis. "
    "Journal of Evolutionary Biology 24, 1836-1841 (2011).",
    "10.1111/j.1420-9101.2011.02297.x",
)


def of_replication(outputs: Outputs) -> list[Reference]:
    """Works on replications that ran."""
    found = replication_words.ran(outputs)
    used = [MEIER, WELCH, VIECHTBAUER, HELLER, ZAYKIN] if found else []
    return used + ([PAULE, ROEVER, HIGGINS] if any(one.most_trials > 2 for one in found) else [])


def cited(outputs: Outputs) -> list[Reference]:
    """Works that this study's text refers to, by first author."""
    used = [WANG, NILEARN, SNAKEMAKE]
    if takes_components(outputs.config.denoise.strategy):
        used.append(COMPCOR)
    if any("fmriprep" in made.lower() for made in outputs.made_by):
        used.append(FMRIPREP)
    if outputs.contrasts():
        used.append(WINKLER)
    if any(c.n_families > 1 for c in outputs.contrasts()) or mediation_words.has_several_families(outputs):
        used.append(HOLM)
    if outputs.has_maps:
        used += [ICBM, OPACITY]
    asked = outputs.config.inference.enhancement
    if asked is not None and asked.kind == "tfce" and outputs.has_maps and outputs.models:
        used.append(SMITH)
    used += [ROY] if outputs.config.connectivity.together else []
    used += [AFYOUNI] if outputs.config.connectivity.xdf else []
    used += _of_tests(outputs)
    used += of_clinic(outputs)
    return sorted(dict.fromkeys(used), key=lambda r: r.text)


def _of_predictions(outputs: Outputs) -> list[Reference]:
    asked = [outputs.config.prediction[name] for name in undone.done(outputs, "prediction")]
    used = [BATES, FREEDMAN, NADEAU, NEWCOMBE] if asked else []
    used += [DELONG] if any(one.test for one in asked) else []
    return used + ([JOHNSON] if any(one.harmonise for one in asked) else [])


def _of_tests(outputs: Outputs) -> list[Reference]:
    """Works on the tests that ran."""
    scored = inference_words.has_column(outputs, "p_score")
    asked_for = outputs.config.inference.edge_enhancement
    kind = "tfnbs" if asked_for is None else asked_for.kind
    asked = (
        (HOTELLING, inference_words.has_several_values(outputs)),
        (WELCH, inference_words.has_welch_f(outputs)),
        (JOHANSEN, inference_words.has_own_covariances(outputs)),
        (YU, inference_words.has_own_covariances(outputs)),
        (MACKINNON, inference_words.has_robust_slopes(outputs)),
        (DICICCIO, inference_words.has_robust_slopes(outputs)),
        (FREEDMAN, any(c.rows.has_nuisance for c in outputs.contrasts())),
        (LORD, inference_words.has_arms_by_choice(outputs)),
        (FREEMAN, inference_words.has_crossover(outputs)),
        (MARCUS, inference_words.has_networks(outputs)),
        (TAIL, inference_words.has_column(outputs, "p_tail")),
        (SCHUIRMANN, inference_words.has_column(outputs, "p_equivalence")),
        (BAGGIO, scored and kind == "tfnbs"),
        (ZALESKY, scored and kind != "tfnbs"),
    )
    return [reference for reference, wanted in asked if wanted]
