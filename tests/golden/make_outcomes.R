# Statistics of outcomes from base R, for tests/test_outcomes_r.py. Run: Rscript make_outcomes.R > outcomes.json
# Only base R; JSON is written by hand so that no package is needed.

n <- 17
x <- c(31, 28, 35, 22, 40, 27, 33, 30, 26, 38, 24, 29, 36, 32, 25, 34, 37)
y <- c(12, 20, 9, 18, 25, 8, 30, 11, 16, 19, 21, 7, 28, 15, 10, 14, 33)
arm <- rep(c(1, 0), length.out = n)
fd <- c(0.21, 0.1, 0.3, 0.12, 0.28, 0.15, 0.22, 0.09, 0.31, 0.17, 0.2, 0.11, 0.26, 0.13, 0.24, 0.16, 0.33)
tsnr <- c(50, 61, 47, 58, 49, 60, 53, 62, 44, 57, 52, 64, 46, 59, 48, 55, 45)
z <- c(0.31, 0.12, 0.44, 0.05, 0.52, 0.2, 0.33, 0.08, 0.41, 0.18, 0.35, 0.02, 0.47, 0.15, 0.38, 0.11, 0.5)
z0 <- c(0.2, 0.15, 0.3, 0.1, 0.33, 0.22, 0.18, 0.12, 0.25, 0.2, 0.3, 0.09, 0.28, 0.19, 0.24, 0.16, 0.27)

numbers <- function(v) paste0("[", paste(sprintf("%.15g", v), collapse = ", "), "]")
entry <- function(name, v) sprintf('  "%s": %s', name, numbers(v))

change <- cor.test(x, y - x)
oldham <- cor.test((x + y) / 2, y - x)
# The interval of the ratio of variances by turning the test round: ratios that it would not refuse.
refused <- function(ratio) cor.test(x + y / sqrt(ratio), y / sqrt(ratio) - x)$p.value - 0.05
ratio <- var(y) / var(x)
low <- uniroot(refused, c(ratio / 50, ratio), tol = 1e-12)$root
high <- uniroot(refused, c(ratio, ratio * 50), tol = 1e-12)$root

t_of <- function(model, name) {
  row <- summary(model)$coefficients[name, ]
  c(row[1], row[2], row[3], row[4], model$df.residual)
}
plain <- lm(z ~ arm)
one <- lm(z ~ arm + fd)
both <- lm(z ~ arm + fd + tsnr)
ancova <- lm(z ~ arm + z0 + fd)
moderated <- lm(y ~ arm * z + x)

cat("{\n")
cat(paste(c(
  entry("first", x), entry("second", y), entry("arm", arm), entry("fd", fd), entry("tsnr", tsnr),
  entry("z", z), entry("baseline", z0),
  entry("change", c(change$estimate, change$conf.int)),
  entry("oldham", c(oldham$estimate, oldham$conf.int, oldham$p.value)),
  entry("ratio", c(ratio, low, high)),
  entry("plain", t_of(plain, "arm")), entry("adjusted", t_of(one, "arm")), entry("both", t_of(both, "arm")),
  entry("ancova", t_of(ancova, "arm")), entry("moderated", t_of(moderated, "arm:z"))
), collapse = ",\n"))
cat("\n}\n")
