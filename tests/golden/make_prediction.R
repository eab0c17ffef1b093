# AUC of a fixed score with DeLong's interval, by pROC on its own example data.
# Run: Rscript make_prediction.R > prediction_auc.json   (pROC from r-cran-proc)
suppressMessages(library(pROC))
num <- function(x) paste0("[", paste(sprintf("%.17g", x), collapse = ", "), "]")
data(aSAH)
first <- TRUE
item <- function(name, x) {
  cat(if (first) "{\n" else ",\n", sprintf('"%s": ', name), num(x), sep = "")
  first <<- FALSE
}
item("outcome", as.numeric(aSAH$outcome == "Poor"))
for (score in c("s100b", "ndka", "wfns")) {
  values <- as.numeric(aSAH[[score]])
  curve <- roc(aSAH$outcome, values, levels = c("Good", "Poor"), direction = "<", quiet = TRUE)
  item(score, values)
  item(paste0(score, "_ci"), as.numeric(ci.auc(curve, method = "delong"))) # low, AUC, high
  item(paste0(score, "_se"), sqrt(var(curve, method = "delong")))
}
# Calibration of a fixed probability, base R: slope, and intercept with the slope fixed to 1.
set.seed(3)
odds <- round(rnorm(60), 4)
y <- rbinom(60, 1, plogis(0.5 + 0.6 * odds))
item("odds", odds)
item("y", y)
item("slope", coef(glm(y ~ odds, family = binomial))[2])
item("intercept", coef(glm(y ~ offset(odds), family = binomial)))
cat("\n}\n")
