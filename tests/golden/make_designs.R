# Oracle numbers for the compiled designs, base R only. Run: Rscript make_designs.R > designs.json
# Columns of tests: F (or t), numerator and denominator degrees of freedom, p. Matrices are lists of rows.
set.seed(20240612)
num <- function(x) paste0("[", paste(sprintf("%.17g", x), collapse = ", "), "]")
rows <- function(x) paste0("[", paste(apply(x, 1, num), collapse = ",\n  "), "]")
first <- TRUE
item <- function(name, x) {
  cat(if (first) "{\n" else ",\n", sprintf('"%s": ', name), if (is.matrix(x)) rows(x) else num(x), sep = "")
  first <<- FALSE
}

# One row of the table of a multivariate test: approximate F, its degrees of freedom, p, and the statistic itself.
table_row <- function(fit, which, test) {
  s <- summary(fit, test = test, intercept = TRUE)$stats[which, ]
  c(s[c("approx F", "num Df", "den Df", "Pr(>F)")], s[2])
}

# Levels within people, one row per person; successive differences span the contrasts of all levels.
differences <- function(y) t(apply(y, 1, diff))
levels_of <- function(n, m, shift) round(matrix(rnorm(n * m), n) + rnorm(n) + shift, 3)

three <- levels_of(9, 3, matrix(c(0, 0.8, 1.7), 9, 3, byrow = TRUE))
item("within", three)
item("within_wilks", table_row(manova(differences(three) ~ 1), "(Intercept)", "Wilks"))
item("within_hotelling", table_row(manova(differences(three) ~ 1), "(Intercept)", "Hotelling-Lawley"))

# Nuisance: a centred covariate, so that the intercept is the mean change.
age <- round(rnorm(9, 0, 9), 3)
age <- round(age - mean(age), 3)
fit <- lm(differences(three) ~ age)
without <- lm(differences(three) ~ 0 + age)
a <- anova(fit, without, test = "Wilks")[2, ]
item("within_age", age)
item("within_age_wilks", unlist(a[c("approx F", "num Df", "den Df", "Pr(>F)", "Wilks")]))

g <- rep(0:1, c(5, 7))
two <- levels_of(12, 3, outer(g, c(0, 0.5, 1.4)))
item("group", g)
item("group_within", two)
item("group_within_wilks", table_row(manova(differences(two) ~ g), "g", "Wilks"))

arm <- factor(rep(1:3, c(4, 5, 5)))
many <- levels_of(14, 3, outer(as.integer(arm) - 1, c(0, 0.4, 1.2)))
item("arm", as.integer(arm))
item("arm_within", many)
item("arm_within_wilks", table_row(manova(differences(many) ~ arm), "arm", "Wilks"))
item("arm_within_pillai", table_row(manova(differences(many) ~ arm), "arm", "Pillai"))

four <- factor(rep(1:4, c(5, 5, 4, 6)))
wide <- levels_of(20, 4, outer(as.integer(four) - 1, c(0, 0.3, 0.5, 0.9)))
item("four", as.integer(four))
item("four_within", wide)
item("four_within_wilks", table_row(manova(differences(wide) ~ four), "four", "Wilks"))

# One score per person and more than two groups: F, and Welch 1951 with group variances,
#   w_i = n_i / s_i^2, W = sum w_i, m = sum w_i x_i / W, h = sum (1 - w_i / W)^2 / (n_i - 1), k groups,
#   F = (sum w_i (x_i - m)^2 / (k - 1)) / (1 + 2 (k - 2) h / (k^2 - 1)), df2 = (k^2 - 1) / (3 h).
# Winkler's G without covariates is this, with rank s = k - 1: s (s + 2) = k^2 - 1 and s - 1 = k - 2.
score <- round(rnorm(14) * c(0.6, 1, 1.9)[as.integer(arm)] + 0.8 * as.integer(arm), 3)
one_way <- function(equal) {
  s <- oneway.test(score ~ arm, var.equal = equal)
  c(s$statistic, s$parameter, s$p.value)
}
item("score", score)
item("f", one_way(TRUE))
item("welch_g", one_way(FALSE))
x <- round(rnorm(14, 0, 6), 3)
nested <- anova(lm(score ~ x), lm(score ~ x + arm))[2, ]
item("score_covariate", x)
item("f_covariate", c(nested[["F"]], nested[["Df"]], nested[["Res.Df"]], nested[["Pr(>F)"]]))

# Two groups of unequal variance: t, df, p, difference, its 95 % interval.
pair <- score[arm != 2]
of <- arm[arm != 2] == 3
w <- t.test(pair[of], pair[!of])
item("welch_v", c(w$statistic, w$parameter, w$p.value, w$estimate[1] - w$estimate[2], w$conf.int))

# Analysis of covariance: adjusted difference, its standard error, t, df, p, 95 % interval.
coefficient <- function(fit, name) {
  s <- summary(fit)
  c(s$coefficients[name, 1:3], s$df[2], s$coefficients[name, 4], confint(fit)[name, ])
}
treated <- rep(0:1, c(7, 9))
before <- round(rnorm(16, 0.4, 0.3), 3)
after <- round(0.5 * before + 0.25 * treated + rnorm(16, 0, 0.2), 3)
site <- rep(0:1, 8)
item("treated", treated)
item("before", before)
item("after", after)
item("site", site)
item("ancova", coefficient(lm(after ~ treated + before), "treated"))
item("ancova_site", coefficient(lm(after ~ treated + before + site), "treated"))
item("change", coefficient(lm(I(after - before) ~ treated), "treated"))
centred <- before - mean(before)
item("slopes", coefficient(lm(after ~ treated * centred), "treated:centred"))

# Crossover of two periods: the effect free of period, the period effect, and carry-over.
drug_first <- rep(1:0, c(4, 6))
period_1 <- round(rnorm(10) + 0.9 * drug_first + 0.5, 3)
period_2 <- round(rnorm(10) + 0.9 * (1 - drug_first), 3)
half <- (period_1 - period_2) / 2
item("drug_first", drug_first)
item("period_1", period_1)
item("period_2", period_2)
item("crossover_effect", coefficient(lm(half ~ drug_first), "drug_first"))
drug_minus_placebo <- ifelse(drug_first == 1, 1, -1) * (period_1 - period_2)
code <- ifelse(drug_first == 1, 1, -1)
item("crossover_flips", coefficient(lm(drug_minus_placebo ~ I(code - mean(code))), "(Intercept)"))
item("crossover_balanced", coefficient(lm(drug_minus_placebo ~ code), "(Intercept)"))
item("carry_over", coefficient(lm(I(period_1 + period_2) ~ drug_first), "drug_first"))
cat("\n}\n")
