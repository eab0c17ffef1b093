# Several estimates put together by metafor, and Welch's F by R itself; writes pooling.json beside this file.
# Rscript make_pooling.R    (R 4.2.2, metafor 3.8.1, jsonlite)
library(metafor)
library(jsonlite)
options(digits = 17)
tight <- list(threshold = 1e-12, tol = 1e-12, maxiter = 10000)

pooled <- function(y, se) {
  fixed <- rma(y, sei = se, method = "FE")
  found <- list(
    effect = y, se = se, common = c(fixed$b), common_se_known = fixed$se, q = fixed$QE, p_chi2 = fixed$QEp
  )
  random <- rma(y, sei = se, method = "PM", test = "adhoc", control = tight)
  bounds <- confint(random, control = list(tol = 1e-12, maxiter = 10000))$random
  found$tau2 <- random$tau2
  found$i2 <- random$I2 / 100
  found$i2_bounds <- unname(bounds["I^2(%)", c("ci.lb", "ci.ub")]) / 100
  if (length(y) > 2) {
    # This version of metafor takes t with k - 1 degrees of freedom here, Higgins et al. 2009 with k - 2.
    predicted <- predict(random)
    half <- (predicted$pi.ub - predicted$pi.lb) / 2
    half <- half / qt(0.975, length(y) - 1) * qt(0.975, length(y) - 2)
    found <- c(found, list(
      random = c(random$b), random_se = random$se, random_ci = c(random$ci.lb, random$ci.ub),
      predicted = c(random$b) + c(-half, half)
    ))
  }
  found
}

cases <- list(
  pooled(c(0.21, 0.05), c(0.06, 0.08)),
  pooled(c(0.32, -0.11), c(0.07, 0.09)),
  pooled(c(0.10, 0.42, -0.05), c(0.05, 0.09, 0.08)),
  pooled(c(0.20, 0.21, 0.19, 0.22), c(0.05, 0.10, 0.08, 0.20)),
  pooled(c(-0.31, 0.02, -0.44, -0.12, -0.20), c(0.11, 0.05, 0.09, 0.15, 0.07))
)

# Means of samples with variances of their own: Welch's F is R's own test of equal means.
set.seed(20260412)
samples <- list(rnorm(8, 0.3, 1), rnorm(14, -0.4, 2), rnorm(11, 0.5, 0.7))
welch <- function(own) {
  data <- data.frame(y = unlist(own), trial = factor(rep(seq_along(own), lengths(own))))
  test <- oneway.test(y ~ trial, data)
  list(samples = own, p = test$p.value)
}

write_json(
  list(cases = cases, welch = list(welch(samples), welch(samples[1:2]))),
  "pooling.json", digits = NA, auto_unbox = TRUE, pretty = TRUE
)
