# Oracle numbers for groups with a covariance of their own and for robust slopes. Base R; HC3 from sandwich.
# Run: Rscript make_variances.R > variances.json
library(sandwich)
set.seed(20250611)
num <- function(x) paste0("[", paste(sprintf("%.17g", x), collapse = ", "), "]")
rows <- function(x) paste0("[", paste(apply(x, 1, num), collapse = ",\n  "), "]")
first <- TRUE
item <- function(name, x) {
  cat(if (first) "{\n" else ",\n", sprintf('"%s": ', name), if (is.matrix(x)) rows(x) else num(x), sep = "")
  first <<- FALSE
}

# Johansen 1980 in the general form of Lix and Keselman 1995 (Psychological Bulletin 117:547-560):
# cell means mu (group by group), S = blockdiag(S_j / n_j), R = contrasts between groups (x) values,
#   T = (R mu)' (R S R')^-1 (R mu), A = 1/2 sum_j [tr(H Q_j H Q_j) + tr(H Q_j)^2] / (n_j - 1), H = S R'(R S R')^-1 R,
#   c = f + 2 A - 6 A / (f + 2), T / c ~ F(f, f (f + 2) / (3 A)).
# The columns: F, f, second degrees of freedom, p, T, A.
pieces <- function(y, g) {
  k <- nlevels(g); q <- ncol(y)
  s <- matrix(0, k * q, k * q); mu <- numeric(0); at <- list()
  for (j in seq_len(k)) {
    own <- y[g == levels(g)[j], , drop = FALSE]
    at[[j]] <- (j - 1) * q + seq_len(q)
    s[at[[j]], at[[j]]] <- cov(own) / nrow(own)
    mu <- c(mu, colMeans(own))
  }
  list(mu = mu, s = s, at = at, n = as.vector(table(g)))
}
johansen <- function(y, g) {
  d <- pieces(y, g); k <- nlevels(g); q <- ncol(y)
  r <- kronecker(cbind(diag(k - 1), -1), diag(q))
  inner <- solve(r %*% d$s %*% t(r))
  h <- d$s %*% t(r) %*% inner %*% r
  a <- 0
  for (j in seq_len(k)) {
    one <- matrix(0, k * q, k * q); diag(one)[d$at[[j]]] <- 1
    m <- h %*% one
    a <- a + (sum(diag(m %*% m)) + sum(diag(m))^2) / (d$n[j] - 1) / 2
  }
  t2 <- as.numeric(t(r %*% d$mu) %*% inner %*% (r %*% d$mu))
  f <- (k - 1) * q; f2 <- f * (f + 2) / (3 * a); c <- f + 2 * a - 6 * a / (f + 2)
  c(t2 / c, f, f2, pf(t2 / c, f, f2, lower.tail = FALSE), t2, a)
}

# Krishnamoorthy and Yu 2004 (modified Nel and Van der Merwe), two groups: V_j = S_j / n_j, V = V_1 + V_2,
#   nu = q (q + 1) / sum_j [tr((V_j V^-1)^2) + tr(V_j V^-1)^2] / (n_j - 1), T ~ nu q / (nu - q + 1) F(q, nu - q + 1).
yu <- function(y, g) {
  d <- pieces(y, g); q <- ncol(y); delta <- d$mu[d$at[[1]]] - d$mu[d$at[[2]]]
  v <- d$s[d$at[[1]], d$at[[1]]] + d$s[d$at[[2]], d$at[[2]]]
  t2 <- as.numeric(delta %*% solve(v) %*% delta); total <- 0
  for (j in 1:2) {
    m <- d$s[d$at[[j]], d$at[[j]]] %*% solve(v)
    total <- total + (sum(diag(m %*% m)) + sum(diag(m))^2) / (d$n[j] - 1)
  }
  nu <- q * (q + 1) / total
  f <- t2 * (nu - q + 1) / (nu * q)
  c(f, q, nu - q + 1, pf(f, q, nu - q + 1, lower.tail = FALSE), t2, nu)
}

three <- factor(rep(1:3, c(12, 7, 9)))
y <- round(matrix(rnorm(28 * 2), 28) * c(0.7, 2, 1)[three] + outer(as.integer(three), c(0.3, -0.2)), 3)
item("three", as.integer(three))
item("three_values", y)
item("three_johansen", johansen(y, three))

two <- factor(rep(1:2, c(11, 6)))
w <- round(matrix(rnorm(17 * 3), 17) * c(1, 2.5)[two] + outer(as.integer(two), c(0.8, 0, -0.5)), 3)
item("two", as.integer(two))
item("two_values", w)
item("two_yu", yu(w, two))

# Slope, HC3 standard error, their ratio.
x <- round(rexp(18), 3)
age <- round(rnorm(18, 40, 9), 1)
score <- round(0.4 * x + 0.02 * age + rnorm(18) * (0.4 + x), 3)
fit <- lm(score ~ x + age)
se <- sqrt(vcovHC(fit, type = "HC3")["x", "x"])
item("x", x)
item("age", age)
item("score", score)
item("hc3", c(coef(fit)[["x"]], se, coef(fit)[["x"]] / se))
cat("\n}\n")
