% Oracle numbers for the variance of correlation under autocorrelation, printed by the authors' own xDF_octave.m
% (folder Octave of github.com/asoroosh/xDF, commit f075f7b, not part of this project).
% Needs Octave with the packages statistics and signal.
% Run: octave --no-gui --quiet make_xdf.m FOLDER_OF_XDF_OCTAVE > xdf.json
warning("off", "all");
pkg load statistics
pkg load signal
addpath(argv(){1});
randn("twister", 20190531);

function out = numbers(x, form)
  out = ["[" strjoin(arrayfun(@(v) sprintf(form, v), x(:)', "UniformOutput", false), ", ") "]"];
end

function out = matrix(x, form)
  out = ["[" strjoin(cellfun(@(row) numbers(row, form), num2cell(x, 2)', "UniformOutput", false), ",\n  ") "]"];
end

% Octave's inverse FFT leaves imaginary parts of rounding size, which MATLAB drops.
function print(name, x)
  assert(max(abs(imag(x(:)))) < 1e-12);
  printf(",\n \"%s\": %s", name, matrix(real(x), "%.16g"));
end

function show(name, x, last)
  x = round(x * 1e4) / 1e4;
  n = columns(x);
  printf("{\"name\": \"%s\", \"series\":\n  %s", name, matrix(x', "%.4f"));
  [v, stat] = xDF_octave(x, n, "truncate", "adaptive");
  printf(",\n \"lags\": %s", numbers(diag(stat.W2S), "%d"));
  print("adaptive", v);
  print("adaptive_z", stat.z);
  [v, stat] = xDF_octave(x, n, "taper", "tukey", 2 * sqrt(n));
  print("tukey", v);
  print("tukey_z", stat.z);
  [v, stat] = xDF_octave(x, n, "truncate", "adaptive", "TVOff");
  print("unbounded", v);
  printf("}%s\n", last);
end

shared = filter(1, [1 -0.7], randn(1, 75));
[b, a] = butter(2, 2 * 2.2 * [0.01 0.1]);

printf("[\n");
show("white", randn(4, 61), ",");
show("AR(1) 0.6", filter(1, [1 -0.6], randn(3, 120), [], 2), ",");
show("different AR", [filter(1, [1 -0.9], randn(1, 90)); randn(1, 90); filter(1, [1 0.5], randn(1, 90)); filter(1, [1 -0.4 -0.3], randn(1, 90))], ",");
show("high r", [shared; shared + 0.1 * randn(1, 75); -shared + 0.4 * randn(1, 75); circshift(shared, 2)], ",");
show("band-passed", filter(b, a, randn(3, 160) + 0.8 * randn(1, 160), [], 2), "");
printf("]\n");
