# Oracle numbers for the inference engine, base R only. Run: Rscript make_inference.R > inference.json
set.seed(20240501)
num <- function(x) paste0("[", paste(sprintf("%.17g", x), collapse = ", "), "]")
item <- function(name, x) cat(sprintf('"%s": %s', name, num(x)))
sep <- function() cat(",\n")

# Noncentral t: limits of the noncentrality for observed t, 95 %.
limits <- function(t, df) {
  solve <- function(q) uniroot(function(d) pt(t, df, d) - q, c(-37, 37), tol = 1e-13)$root
  c(solve(0.975), solve(0.025))
}
t <- c(-6.2, -2.5, -0.3, 0, 0.8, 2.1, 4.4, 9.5); df <- c(22, 13, 46, 9, 5, 22, 58, 30)
both <- mapply(limits, t, df)

# Two groups of unequal size and a covariate.
g <- rep(0:1, c(6, 11)); age <- round(rnorm(17, 40, 9), 3); y <- round(rnorm(17) * (1 + g) + 0.8 * g + 0.03 * age, 4)
welch <- t.test(y[g == 1], y[g == 0]); adjusted <- summary(lm(y ~ g + age))$coefficients["g", ]

# All label assignments of 4 against 5 by Student's t, all flips of 7 differences.
small <- round(rnorm(9) + rep(c(0, 1.3), c(4, 5)), 3); d <- round(rnorm(7) + 0.7, 3)
student <- function(i) abs(t.test(small[i], small[-i], var.equal = TRUE)$statistic)
labels <- apply(combn(9, 4), 2, student)
signs <- as.matrix(expand.grid(rep(list(c(1, -1)), 7)))
flips <- apply(signs, 1, function(s) abs(t.test(d * s)$statistic))

p <- c(0.001, 0.2, 0.013, 0.04, 0.04, 0.9, 0.0004)
cat("{\n")
item("nct_t", t); sep(); item("nct_df", df); sep(); item("nct_low", both[1, ]); sep(); item("nct_high", both[2, ]); sep()
item("group", g); sep(); item("age", age); sep(); item("y", y); sep()
item("welch", c(welch$statistic, welch$parameter, welch$stderr)); sep(); item("adjusted", adjusted[1:3]); sep()
item("small", small); sep(); item("p_labels", mean(labels >= student(1:4) - 1e-9)); sep()
item("differences", d); sep(); item("p_flips", mean(flips >= flips[1] - 1e-9)); sep()
item("p", p); sep(); item("holm", p.adjust(p, "holm")); sep(); item("bh", p.adjust(p, "BH"))
cat("\n}\n")
