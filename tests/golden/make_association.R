# Partial correlations and intraclass correlations in R; writes association.json beside this file.
# Rscript make_association.R    (R 4.2.2, psych 2.2.9, jsonlite)
library(psych)
library(jsonlite)
set.seed(20240511)
options(digits = 17)

n <- 24
arm <- rep(c("drug", "placebo"), c(14, 10))
age <- round(runif(n, 20, 60))
site <- rnorm(n)
m0 <- rnorm(n)
y0 <- round(rnorm(n, 28, 5))
m1 <- 0.4 * m0 + 0.01 * age + rnorm(n)
y1 <- round(y0 * 0.6 + 3 * m1 + rnorm(n, 0, 4))
dm <- m1 - m0
dy <- y1 - y0

residual <- function(v, z) resid(lm(v ~ ., data = z))
partial <- function(x, y, z) {
  r <- cor(residual(x, z), residual(y, z))
  df <- length(x) - 2 - (ncol(model.matrix(~ ., z)) - 1)
  t <- r * sqrt(df / (1 - r^2))
  c(r = r, df = df, p = 2 * pt(-abs(t), df))
}
ranks <- function(z) as.data.frame(lapply(z, function(v) if (is.numeric(v)) rank(v) else v))
z <- data.frame(arm = arm, age = age, site = site)
full <- data.frame(arm = arm, age = age, site = site, y0 = y0, m0 = m0)
drug <- arm == "drug"
own <- data.frame(age = age, site = site)[drug, ]
other <- data.frame(age = age, site = site)[!drug, ]

slopes <- lm(dm ~ arm + age + site + dy + arm:dy)
fit <- summary(slopes)$coefficients["armplacebo:dy", ]

# The percentage bend correlation by its definition (Wilcox 1994, 10.1007/BF02294395).
bend <- function(x, beta = 0.2) {
  omega <- sort(abs(x - median(x)))[floor((1 - beta) * length(x) + 0.5)]
  far <- (x - median(x)) / omega
  low <- sum(far < -1)
  high <- sum(far > 1)
  middle <- (omega * (high - low) + sum(x[abs(far) <= 1])) / (length(x) - low - high)
  pmin(pmax((x - middle) / omega, -1), 1)
}
bent <- function(x, y) sum(bend(x) * bend(y)) / sqrt(sum(bend(x)^2) * sum(bend(y)^2))

# Shrout and Fleiss 1979, table 2: six targets, four judges.
shrout <- matrix(c(9, 2, 5, 8, 6, 1, 3, 2, 8, 4, 6, 8, 7, 1, 2, 6, 10, 5, 6, 9, 6, 2, 4, 7), 6, byrow = TRUE)
twice <- cbind(m0, m0 * 0.7 + 0.2 + rnorm(n, 0, 0.6))
icc <- function(x) {
  found <- ICC(x, lmer = FALSE)$results
  as.matrix(found[c("Single_random_raters", "Single_fixed_raters"), c("ICC", "lower bound", "upper bound")])
}

write_json(list(
  arm = arm, age = age, site = site, m0 = m0, m1 = m1, y0 = y0, y1 = y1,
  pearson = partial(dm, dy, z),
  spearman = partial(rank(dm), rank(dy), ranks(z)),
  adjusted = partial(m1, y1, full),
  adjusted_spearman = partial(rank(m1), rank(y1), ranks(full)),
  drug = partial(dm[drug], dy[drug], own),
  difference = c(estimate = -fit[[1]], se = fit[[2]], t = -fit[[3]], p = fit[[4]], df = slopes$df.residual),
  bend = bent(residual(dm, z), residual(dy, z)),
  fisher = psych::paired.r(
    partial(dm[drug], dy[drug], own)[["r"]],
    partial(dm[!drug], dy[!drug], other)[["r"]],
    NULL, n = sum(drug) - 2, n2 = sum(!drug) - 2
  )[["p"]],
  shrout = shrout, shrout_icc = icc(shrout),
  twice = twice, twice_icc = icc(twice)
), "association.json", digits = NA, auto_unbox = TRUE, matrix = "rowmajor")
