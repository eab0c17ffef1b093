# Oracle numbers for contrasts that use some of several groups with a variance each.
# Run: Rscript make_freedom.R > freedom.json
library(nlme)
suppressMessages(library(emmeans))
set.seed(20250702)
num <- function(x) paste0("[", paste(sprintf("%.17g", x), collapse = ", "), "]")
rows <- function(x) paste0("[", paste(apply(x, 1, num), collapse = ",\n  "), "]")
first <- TRUE
item <- function(name, x) {
  cat(if (first) "{\n" else ",\n", sprintf('"%s": ', name), if (is.matrix(x)) rows(x) else num(x), sep = "")
  first <<- FALSE
}

n <- c(12, 8, 9, 5)
cell <- factor(rep(1:4, n))
y <- round(matrix(rnorm(34 * 2), 34) * c(0.7, 2, 1, 1.6)[cell] + outer(as.integer(cell), c(0.4, -0.3)), 3)
item("cell", as.integer(cell))
item("values", y)

# One combination of means: restricted maximum likelihood with a variance of each cell, Satterthwaite's degrees
# of freedom. Columns: estimate, standard error, degrees of freedom, t, p. "satterthwaite" differentiates
# numerically, so that about four digits hold.
interaction <- c(1, -1, -1, 1)
first_factor <- c(0.5, 0.5, -0.5, -0.5)
pair <- c(1, -1, 0, 0)
alone <- c(0, 0, 1, 0)
contrasts <- list(interaction = interaction, main = first_factor, pair = pair, alone = alone)
item("contrasts", do.call(rbind, contrasts))
people <- data.frame(y = y[, 1], cell = cell)
fit <- gls(y ~ cell, people, weights = varIdent(form = ~ 1 | cell),
           control = glsControl(tolerance = 1e-12, msTol = 1e-14, msMaxIter = 500))
found <- summary(contrast(emmeans(fit, ~ cell, data = people, mode = "satterthwaite"), contrasts))
item("gls", as.matrix(found[, c("estimate", "SE", "df", "t.ratio", "p.value")]))

# The same from the cells: m'l, sqrt(sum v), (sum v)^2 / sum(v^2 / (n - 1)) with v = s^2 l^2 / n.
mean_of <- tapply(y[, 1], cell, mean); part <- tapply(y[, 1], cell, var) / n
item("satterthwaite", t(sapply(contrasts, function(l) {
  v <- l^2 * part; df <- sum(v)^2 / sum(v^2 / (n - 1)); t <- sum(l * mean_of) / sqrt(sum(v))
  c(sum(l * mean_of), sqrt(sum(v)), df, t, 2 * pt(-abs(t), df))
})))

# Three of the four cells: Welch's analysis of variance of these three. F, second degrees of freedom, p.
three <- oneway.test(y ~ cell, people, subset = cell != 4, var.equal = FALSE)
item("welch_of_three", c(three$statistic, three$parameter[2], three$p.value))

# Johansen 1980 in the general form of Lix and Keselman 1995; see make_variances.R. F, f, f2, p, T, A.
johansen <- function(y, g, c) {
  k <- nlevels(g); q <- ncol(y); s <- matrix(0, k * q, k * q); mu <- numeric(0)
  at <- lapply(seq_len(k), function(j) (j - 1) * q + seq_len(q))
  for (j in seq_len(k)) {
    own <- y[g == levels(g)[j], , drop = FALSE]
    s[at[[j]], at[[j]]] <- cov(own) / nrow(own)
    mu <- c(mu, colMeans(own))
  }
  r <- kronecker(c, diag(q)); inner <- solve(r %*% s %*% t(r)); h <- s %*% t(r) %*% inner %*% r; a <- 0
  for (j in seq_len(k)) {
    one <- matrix(0, k * q, k * q); diag(one)[at[[j]]] <- 1
    m <- h %*% one
    a <- a + (sum(diag(m %*% m)) + sum(diag(m))^2) / (sum(g == levels(g)[j]) - 1) / 2
  }
  t2 <- as.numeric(t(r %*% mu) %*% inner %*% (r %*% mu))
  f <- nrow(r); f2 <- f * (f + 2) / (3 * a); scale <- f + 2 * a - 6 * a / (f + 2)
  c(t2 / scale, f, f2, pf(t2 / scale, f, f2, lower.tail = FALSE), t2, a)
}
pairs <- rbind(c(1, -1, 0, 0), c(0, 0, 1, -1))
item("pairs", pairs)
item("johansen_pairs", johansen(y, cell, pairs))
item("johansen_pairs_one_value", johansen(y[, 1, drop = FALSE], cell, pairs))

# One combination of two values, as Krishnamoorthy and Yu 2004 have it for two groups: nu = q (q + 1) / (2 A),
# T ~ nu q / (nu - q + 1) F(q, nu - q + 1). F, q, nu - q + 1.
one <- johansen(y, cell, rbind(interaction)); nu <- 2 * 3 / (2 * one[6])
item("yu_interaction", c(one[5] * (nu - 1) / (nu * 2), 2, nu - 1))
cat("\n}\n")
