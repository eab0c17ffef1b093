# Oracle numbers for mediation: lavaan for paths and effects, lm for standard errors.
# Run: Rscript make_mediation.R > mediation.json (R with lavaan and jsonlite).
suppressMessages(library(lavaan))
set.seed(20250301)
n <- 40
arm <- rep(1:0, c(22, 18))
d <- data.frame(
  arm = arm, age = round(rnorm(n, 40, 9), 1),
  m0 = round(rnorm(n, 0.3, 0.2), 4), k0 = round(rnorm(n, 0.1, 0.2), 4), y0 = round(rnorm(n, 26, 4), 1)
)
d$m1 <- round(0.5 * d$m0 - 0.15 * arm + rnorm(n, 0.1, 0.15), 4)
d$k1 <- round(0.4 * d$k0 + 0.10 * arm + 0.3 * d$m1 + rnorm(n, 0, 0.15), 4)
d$y1 <- round(0.6 * d$y0 + 12 * d$m1 - 5 * d$k1 - 3 * arm + rnorm(n, 0, 4), 1)
out <- list(data = d, lavaan = as.character(packageVersion("lavaan")), R = R.version.string)

named <- function(fit) {
  est <- parameterEstimates(fit)
  est <- est[est$label != "", ]
  as.list(setNames(est$est, est$label))
}
lm_table <- function(formula, names) {
  s <- coef(summary(lm(formula, d)))
  setNames(lapply(names, function(name) as.list(unname(s[name, c(1, 2, 4)]))), names(names))
}

single <- "m1 ~ a*arm + m0 + age
  y1 ~ b*m1 + c_prime*arm + m0 + y0 + age
  ab := a*b"
out$single <- named(sem(single, d))
out$reverse <- named(sem("y1 ~ reverse_a*arm + y0 + age
  m1 ~ reverse_b*y1 + arm + m0 + y0 + age
  reverse_ab := reverse_a*reverse_b", d))
out$together <- named(sem("m1 ~ a1*arm + m0 + age
  k1 ~ a2*arm + k0 + age
  y1 ~ b1*m1 + b2*k1 + c_prime*arm + m0 + k0 + y0 + age
  ab1 := a1*b1
  ab2 := a2*b2
  total := a1*b1 + a2*b2", d))

# Estimate, standard error and p of each path.
out$lm <- c(
  lm_table(m1 ~ arm + m0 + age, c(a = "arm")),
  lm_table(y1 ~ m1 + arm + m0 + y0 + age, c(b = "m1", c_prime = "arm")),
  lm_table(y1 ~ arm + m0 + y0 + age, c(c = "arm")),
  lm_table(y1 ~ arm + y0 + age, c(reverse_a = "arm")),
  lm_table(m1 ~ y1 + arm + m0 + y0 + age, c(reverse_b = "y1")),
  lm_table(y1 ~ m1 + I((arm - 0.5) * m1) + arm + m0 + y0 + age,
    c(b_middle = "m1", interaction = "I((arm - 0.5) * m1)"))
)

# A crossover: differences of treatments, their sums centred, the period as 1 and -1 (Montoya and Hayes 2017).
p <- 24
w <- data.frame(order = rep(c(1, -1), c(13, 11)), md = round(rnorm(p, 0.3, 0.15), 4), mp = round(rnorm(p, 0.2, 0.15), 4))
w$yd <- round(18 - 10 * w$md + 1.5 * w$order + rnorm(p, 0, 3), 1)
w$yp <- round(22 - 8 * w$mp - 1.5 * w$order + rnorm(p, 0, 3), 1)
out$crossover_data <- w
w <- within(w, {
  dm <- md - mp
  dy <- yd - yp
  sm <- md + mp - mean(md + mp)
  sy <- yd + yp - mean(yd + yp)
})
d <- w
out$crossover <- c(
  lm_table(dm ~ order, c(a = "(Intercept)")),
  lm_table(dy ~ dm + sm + order, c(b = "dm", c_prime = "(Intercept)")),
  lm_table(dy ~ order, c(c = "(Intercept)", reverse_a = "(Intercept)")),
  lm_table(dm ~ dy + sy + order, c(reverse_b = "dy"))
)
cat(jsonlite::toJSON(out, auto_unbox = TRUE, digits = 15, dataframe = "columns", pretty = TRUE), "\n")
