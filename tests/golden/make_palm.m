% Oracle numbers for designs, printed by PALM (github.com/andersonwinkler/PALM, commit 04095fe, not part of this
% project) on small data made here. Needs Octave with the packages statistics and image.
% Run: octave --no-gui --quiet make_palm.m FOLDER_OF_PALM palm.json
%
% PALM writes tables with four decimals. Its function for writing is replaced below by one that keeps every digit.
warning("off", "all");
pkg load statistics
pkg load image
addpath(argv(){1});
global kept kept_rows plm opts

function out = palm_quicksave(x, flg, opts, plm, y, m, c, name)
  global kept kept_rows
  out = x;
  part = regexp(name, "^(.*)_perm([0-9]+)$", "tokens", "once");
  if (isempty(part))
    kept(name) = x(:)';
  else
    stem = regexprep(part{1}, "[^a-z]", "_");
    kept_rows.(stem)(str2double(part{2}), 1:numel(x)) = x(:)';
  end
end

function out = rounded(x, decimals)
  out = round(x * 10 ^ decimals) / 10 ^ decimals;
end

function out = effect(n, n_features, shift)
  out = rounded(randn(n, n_features) + shift * linspace(0, 1, n_features), 3);
end

% What PALM saved under a name that ends so; NaN when it saved nothing.
function out = saved(ending)
  global kept
  names = keys(kept);
  hit = find(cellfun(@(n) ! isempty(regexp(n, [ending "$"], "once")), names));
  assert(numel(hit) <= 1);
  out = NaN;
  if (! isempty(hit)) out = kept(names{hit}); end
end

% One row per rearrangement, the observed one first.
function out = rearranged(ending)
  global kept_rows
  names = fieldnames(kept_rows);
  hit = find(cellfun(@(n) ! isempty(regexp(n, [ending "$"], "once")), names));
  assert(numel(hit) == 1);
  out = kept_rows.(names{hit});
end

function run(c, more)
  global kept kept_rows
  kept = containers.Map();
  kept_rows = struct();
  inputs = {};
  for i = 1:numel(c.data)
    name = sprintf("y%d.csv", i);
    dlmwrite(name, c.data{i}, "precision", "%.17g");
    inputs = [inputs {"-i" name}];
  end
  dlmwrite("d.csv", c.design, "precision", "%.17g");
  dlmwrite("t.csv", c.contrast, "precision", "%.17g");
  inputs = [inputs {"-d" "d.csv" "-t" "t.csv"}];
  if (rows(c.contrast) > 1)
    dlmwrite("f.csv", ones(1, rows(c.contrast)));
    inputs = [inputs {"-f" "f.csv" "-fonly"}];
  end
  if (isfield(c, "strata"))
    dlmwrite("eb.csv", c.strata(:));
    inputs = [inputs {"-eb" "eb.csv" "-within"}];
  end
  if (isfield(c, "variance_groups"))
    dlmwrite("vg.csv", c.variance_groups(:));
    inputs = [inputs {"-vg" "vg.csv"}];
  end
  if (isfield(c, "baseline"))
    dlmwrite("ev.csv", c.baseline, "precision", "%.17g");
    inputs = [inputs {"-evperdat" "ev.csv" sprintf("%d", columns(c.design) + 1)}];
  end
  if (! isfield(c, "permutations")) c.permutations = 0; end
  arguments = [inputs c.flags {"-n" sprintf("%d", c.permutations) "-quiet" "-o" "out" "-savedof"} more];
  evalc("palm_core(arguments{:});");
end

% How often a statistic is at least the observed one, ties within rounding counted.
function [p, p_fwe] = with_ties(all)
  limit = all(1, :) - 1e-9 * (1 + abs(all(1, :)));
  p = mean(all >= limit, 1);
  largest = max(all, [], 2);
  p_fwe = mean(largest >= limit, 1);
end

% A saved permutation matrix P: row i of the residuals becomes row order(i) (counted from 0), or takes signs(i).
function out = rearrangements()
  global plm
  n = plm.N;
  moved = cell2mat(cellfun(@(p) full(p' * (1:n)')', plm.Pset(:), "UniformOutput", false));
  if (any(moved(:) < 0))
    assert(isequal(abs(moved), repmat(1:n, rows(moved), 1)));
    out = {"signs" sign(moved)};
  else
    out = {"order" moved - 1};
  end
end

% PALM's v has a third of Welch's degrees of freedom: 1 / (3 h) in fastv and fastv3d, where its own G at rank 1
% gives 1 / h. A copy in the current folder, which comes before the path, has 1 / h in these two functions.
function repair(folder)
  text = fileread(fullfile(folder, "palm_core.m"));
  from = strfind(text, "function [G,df2] = fastv(");
  to = strfind(text, "function [G,df2] = fastg(");
  wrong = "df2  = 1/3./bsum;";
  assert(numel(strfind(text(from:to), wrong)) == 2);
  file = fopen("palm_core.m", "w");
  fwrite(file, [text(1:from-1) strrep(text(from:to-1), wrong, "df2  = 1./bsum;") text(to:end)]);
  fclose(file);
  clear palm_core
  rehash
end

function restore()
  unlink("palm_core.m");
  clear palm_core
  rehash
end

function out = on_z(c)
  global plm
  run(c, {"-saveperms" "-zstat"});
  out = struct("z", saved("[tfvg]stat"), "p", saved("_uncp"), "p_fwe", saved("_fwep"));
  all = rearranged("[tfvg]stat");
  if (any(strcmp(c.flags, "-twotail"))) all = abs(all); end
  assert(isequal(rows(all), plm.nP{1}(1)));
  [out.p_ties, out.p_fwe_ties] = with_ties(all);
end

function out = solved(c, folder)
  global plm opts
  run(c, {});
  out = struct("statistic", plm.Gname{1}{1}(2:end-4), "stat", saved("[tfvg]stat"), "df", plm.df2{1}{1}{1});
  found = on_z(c);
  for n = fieldnames(found)' out.(n{1}) = found.(n{1}); end
  if (strcmp(out.statistic, "v"))
    repair(folder);
    found = on_z(c);
    found.df = plm.df2{1}{1}{1};
    for n = fieldnames(found)' out.([n{1} "_welch"]) = found.(n{1}); end
    restore();
  end
  out = with_set(out, c);
end

function out = with_set(out, c)
  global plm
  out.n_permutations = plm.nP{1}(1);
  out.exhaustive = c.complete;
  moved = rearrangements();
  if (c.keep_set) out.(moved{1}) = moved{2}; end
end

function out = solved_multivariate(c)
  global plm opts
  run(c, {"-saveparametric" "-saveperms"});
  ending = "(hotellingtsq|wilks)";
  out = struct("statistic", plm.Qname{1}{1}(2:end), "stat", saved(ending), "p", saved([ending "_uncp"]), ...
               "p_fwe", saved([ending "_fwep"]), "p_parametric", plm.Qppara{1}{1});
  all = rearranged(ending);
  if (strcmp(out.statistic, "wilks")) all = -all; end
  [out.p_ties, out.p_fwe_ties] = with_ties(all);
  out = with_set(out, c);
end

% --- JSON -------------------------------------------------------------------------------------------------------
function out = numbers(x)
  out = ["[" strjoin(arrayfun(@(v) sprintf("%.17g", v), x(:)', "UniformOutput", false), ", ") "]"];
end

% Decimals as they were rounded.
function out = decimals(x)
  out = ["[" strjoin(arrayfun(@(v) sprintf("%.12g", v), x(:)', "UniformOutput", false), ", ") "]"];
end

function out = table(x, form)
  out = ["[" strjoin(cellfun(form, num2cell(x, 2)', "UniformOutput", false), ",\n   ") "]"];
end

function out = value(name, x)
  if (ischar(x))
    out = ["\"" strrep(x, "\"", "\\\"") "\""];
  elseif (iscell(x) && numel(x) && ischar(x{1}))
    out = ["[" strjoin(cellfun(@(s) ["\"" s "\""], x, "UniformOutput", false), ", ") "]"];
  elseif (iscell(x))
    out = ["[" strjoin(cellfun(@(d) table(d, @decimals), x, "UniformOutput", false), ",\n   ") "]"];
  elseif (islogical(x))
    out = {"false" "true"}{x + 1};
  elseif (any(strcmp(name, {"data" "baseline" "design" "contrast" "order" "signs"})))
    out = table(x, @decimals);
  elseif (isscalar(x))
    out = sprintf("%.17g", x);
  else
    out = numbers(x);
  end
end

function show(file, s, last)
  names = fieldnames(s)';
  items = cellfun(@(n) sprintf("\"%s\": %s", n, value(n, s.(n))), names, "UniformOutput", false);
  fprintf(file, "{%s}%s\n", strjoin(items, ",\n "), last);
end

% --- cases ------------------------------------------------------------------------------------------------------
cases = {};
function out = a_case(name, seed)
  randn("twister", seed);
  out = struct("name", name);
  out.flags = {"-twotail"};
  out.complete = true;
  out.keep_set = false;
end

function out = centred(x)
  out = rounded(x - mean(x), 3);
end

c = a_case("paired", 1); c.data = {effect(8, 5, 1.2)}; c.design = ones(8, 1); c.contrast = 1;
c.flags = {"-ise" "-twotail"}; cases{end+1} = c;

c = a_case("paired, covariate", 2); age = centred(9 * randn(8, 1)); c.data = {effect(8, 6, 1.0) + rounded(0.04 * age, 3)};
c.design = [ones(8, 1) age]; c.contrast = [1 0]; c.flags = {"-ise" "-twotail"}; c.keep_set = true; cases{end+1} = c;

c = a_case("two groups", 3); g = [zeros(5, 1); ones(5, 1)]; c.data = {effect(10, 6, 0) + rounded(g * linspace(0, 2, 6), 3)};
c.design = [ones(10, 1) g]; c.contrast = [0 1]; c.flags = {"-ee" "-twotail"}; cases{end+1} = c;

c = a_case("two groups, one-sided", 3); c.data = {effect(10, 6, 0) + rounded(g * linspace(0, 2, 6), 3)};
c.design = [ones(10, 1) g]; c.contrast = [0 1]; c.flags = {"-ee"}; cases{end+1} = c;

c = a_case("two groups, covariate", 4); age = centred(9 * randn(10, 1)); c.data = {effect(10, 6, 0) + rounded(g * linspace(0, 2, 6) + 0.04 * age, 3)};
c.design = [ones(10, 1) g age]; c.contrast = [0 1 0]; c.flags = {"-ee" "-twotail"}; c.keep_set = true; cases{end+1} = c;

c = a_case("two groups, covariate, all orders of rows", 5); g = [0 0 0 1 1 1 1]'; age = centred(9 * randn(7, 1));
c.data = {effect(7, 5, 0) + rounded(g * linspace(0, 3, 5) + 0.04 * age, 3)};
c.design = [ones(7, 1) g age]; c.contrast = [0 1 0]; c.flags = {"-ee" "-cmcx" "-twotail"}; cases{end+1} = c;

c = a_case("variance groups", 6); g = [zeros(4, 1); ones(7, 1)]; c.data = {rounded((2.2 - 1.4 * g) .* randn(11, 6) + g * linspace(0, 2.5, 6), 3)};
c.design = [ones(11, 1) g]; c.contrast = [0 1]; c.variance_groups = g + 1; c.flags = {"-ee" "-twotail"}; cases{end+1} = c;

c = a_case("variance groups, covariate", 7); age = centred(9 * randn(11, 1)); c.data = {rounded((2.2 - 1.4 * g) .* randn(11, 6) + g * linspace(0, 2.5, 6) + 0.05 * age, 3)};
c.design = [ones(11, 1) g age]; c.contrast = [0 1 0]; c.variance_groups = g + 1; c.flags = {"-ee" "-twotail"}; c.keep_set = true; cases{end+1} = c;

c = a_case("group by time, two sites", 8); g = [0 0 0 1 1 0 0 1 1 1]'; site = [zeros(5, 1); ones(5, 1)];
c.data = {effect(10, 6, 0.5) + rounded(g * linspace(0, 2.5, 6) + 0.8 * site, 3)};
c.design = [ones(10, 1) g centred(site)]; c.contrast = [0 1 0]; c.strata = site + 1; c.flags = {"-ee" "-twotail"}; cases{end+1} = c;

c = a_case("group by time, two sites, covariate", 9); age = centred(9 * randn(10, 1));
c.data = {effect(10, 6, 0.5) + rounded(g * linspace(0, 2.5, 6) + 0.8 * site + 0.04 * age, 3)};
c.design = [ones(10, 1) g centred(site) age]; c.contrast = [0 1 0 0]; c.strata = site + 1; c.flags = {"-ee" "-twotail"}; c.keep_set = true; cases{end+1} = c;

c = a_case("group by time, two sites, variance groups", 10); g = [0 0 0 1 1 0 0 1 1 1]';
c.data = {rounded((0.8 + 0.9 * g) .* randn(10, 6) + g * linspace(0, 3, 6) + 0.8 * site, 3)};
c.design = [ones(10, 1) g]; c.contrast = [0 1]; c.strata = site + 1; c.variance_groups = g + 1; c.flags = {"-ee" "-twotail"}; cases{end+1} = c;

c = a_case("baseline of each feature", 11); g = [zeros(4, 1); ones(4, 1)]; b = effect(8, 6, 0); c.baseline = b;
c.data = {rounded(0.6 * b + 0.8 * randn(8, 6) + g * linspace(0, 2.5, 6), 3)};
c.design = [ones(8, 1) g]; c.contrast = [0 1 0]; c.flags = {"-ee" "-twotail"}; c.keep_set = true; cases{end+1} = c;

c = a_case("baseline of each feature, all orders of rows", 12); g = [0 0 0 1 1 1]'; b = effect(6, 5, 0); c.baseline = b;
c.data = {rounded(0.6 * b + 0.8 * randn(6, 5) + g * linspace(0, 3, 5), 3)};
c.design = [ones(6, 1) g]; c.contrast = [0 1 0]; c.flags = {"-ee" "-cmcx" "-twotail"}; cases{end+1} = c;

c = a_case("baseline of each feature, covariate, two sites", 13); g = [0 0 1 1 0 0 0 1 1]'; site = [zeros(4, 1); ones(5, 1)];
b = effect(9, 5, 0); c.baseline = b; age = centred(9 * randn(9, 1));
c.data = {rounded(0.6 * b + 0.8 * randn(9, 5) + g * linspace(0, 3, 5) + 0.5 * site + 0.03 * age, 3)};
c.design = [ones(9, 1) g centred(site) age]; c.contrast = [0 1 0 0 0]; c.strata = site + 1; c.flags = {"-ee" "-twotail"}; c.keep_set = true; cases{end+1} = c;

c = a_case("baseline of each feature, variance groups", 14); g = [zeros(4, 1); ones(5, 1)]; b = effect(9, 5, 0); c.baseline = b;
c.data = {rounded(0.6 * b + (1.4 - 0.8 * g) .* randn(9, 5) + g * linspace(0, 3, 5), 3)};
c.design = [ones(9, 1) g]; c.contrast = [0 1 0]; c.variance_groups = g + 1; c.flags = {"-ee" "-twotail"}; c.keep_set = true; cases{end+1} = c;

% Crossover: period 1 - period 2 by sequence; and drug - placebo with +-1 by sequence, whose zero is "no period".
c = a_case("crossover, sequence labels", 15); drug_first = [1 1 1 1 0 0 0 0 0]'; signs = 2 * drug_first - 1;
drug = effect(9, 6, 0) + rounded(ones(9, 1) * linspace(0, 1.8, 6) + 0.6 * signs, 3);
c.data = {rounded(drug .* signs, 3)}; c.design = [ones(9, 1) drug_first]; c.contrast = [0 0.5]; c.flags = {"-ee" "-twotail"}; cases{end+1} = c;

c = a_case("crossover, flips with period", 16); period = [1 1 1 1 1 -1 -1 -1]'; c.data = {effect(8, 6, 0) + rounded(ones(8, 1) * linspace(0, 1.8, 6) + 0.6 * period, 3)};
c.design = [ones(8, 1) period]; c.contrast = [1 0]; c.flags = {"-ise" "-twotail"}; c.keep_set = true; cases{end+1} = c;

three = @(a, b, c) [repmat([1 0 0], a, 1); repmat([0 1 0], b, 1); repmat([0 0 1], c, 1)];
c = a_case("three groups", 17); m = three(3, 3, 3); c.data = {effect(9, 5, 0) + rounded(m(:, 2) * linspace(0, 1, 5) + m(:, 3) * linspace(0, 2.5, 5), 3)};
c.design = m; c.contrast = [1 -1 0; 0 1 -1]; c.flags = {"-ee"}; cases{end+1} = c;

c = a_case("three groups, variance groups", 18); c.data = {rounded((m * [0.5 1 1.6]') .* randn(9, 5) + m(:, 2) * linspace(0, 1, 5) + m(:, 3) * linspace(0, 4, 5), 3)};
c.design = m; c.contrast = [1 -1 0; 0 1 -1]; c.variance_groups = m * [1 2 3]'; c.flags = {"-ee"}; cases{end+1} = c;

c = a_case("three groups of different size, variance groups", 19); m = three(2, 3, 4); c.data = {rounded((m * [1.6 1 0.5]') .* randn(9, 5) + m(:, 2) * linspace(0, 1, 5) + m(:, 3) * linspace(0, 4, 5), 3)};
c.design = m; c.contrast = [1 -1 0; 0 1 -1]; c.variance_groups = m * [1 2 3]'; c.flags = {"-ee"}; cases{end+1} = c;

c = a_case("three groups, covariate", 20); m = three(2, 3, 3); age = centred(9 * randn(8, 1));
c.data = {effect(8, 5, 0) + rounded(m(:, 2) * linspace(0, 1, 5) + m(:, 3) * linspace(0, 3, 5) + 0.04 * age, 3)};
c.design = [m age]; c.contrast = [1 -1 0 0; 0 1 -1 0]; c.flags = {"-ee"}; c.keep_set = true; cases{end+1} = c;

c = a_case("three groups, covariate, variance groups", 21); m = three(3, 4, 4); age = centred(9 * randn(11, 1));
c.data = {rounded((m * [1.6 1 0.5]') .* randn(11, 5) + m(:, 2) * linspace(0, 1, 5) + m(:, 3) * linspace(0, 3, 5) + 0.04 * age, 3)};
c.design = [m age]; c.contrast = [1 -1 0 0; 0 1 -1 0]; c.variance_groups = m * [1 2 3]'; c.flags = {"-ee"}; c.keep_set = true;
c.permutations = 400; c.complete = false; cases{end+1} = c;

c = a_case("regression, covariate", 22); x = rounded(12 + 5 * randn(7, 1), 1); age = centred(9 * randn(7, 1));
c.data = {effect(7, 6, 0) + rounded((x - 12) * linspace(0, 0.4, 6) + 0.04 * age, 3)};
c.design = [ones(7, 1) x age]; c.contrast = [0 1 0]; c.flags = {"-ee" "-twotail"}; cases{end+1} = c;

% Three levels within people as two orthonormal contrasts: the vector of a person moves as one.
multivariate = {};
within = [1 -1 0; 1 1 -2]' ./ sqrt([2 6]);
function out = contrasts_of(levels, within)
  out = {};
  for j = 1:columns(within)
    out{j} = rounded(sum(bsxfun(@times, levels, reshape(within(:, j), 1, 1, [])), 3), 3);
  end
end

c = a_case("three levels within", 31); levels = randn(8, 5, 3) + randn(8, 1) + reshape(linspace(0, 1.5, 3), 1, 1, []) .* linspace(0, 1, 5);
c.data = contrasts_of(levels, within); c.design = ones(8, 1); c.contrast = 1; c.flags = {"-ise" "-mv" "HotellingTsq"}; multivariate{end+1} = c;

c = a_case("two groups by three levels within", 32); g = [0 0 0 0 1 1 1 1 1]'; levels = randn(9, 5, 3) + randn(9, 1) + g .* reshape(linspace(0, 2, 3), 1, 1, []) .* linspace(0, 1, 5);
c.data = contrasts_of(levels, within); c.design = [ones(9, 1) g]; c.contrast = [0 1]; c.flags = {"-ee" "-mv" "HotellingTsq"}; multivariate{end+1} = c;

c = a_case("three groups by three levels within", 33); m = three(3, 3, 3); levels = randn(9, 5, 3) + randn(9, 1) + (m * [0 1 2]') .* reshape(linspace(0, 1.5, 3), 1, 1, []) .* linspace(0, 1, 5);
c.data = contrasts_of(levels, within); c.design = m; c.contrast = [1 -1 0; 0 1 -1]; c.flags = {"-ee" "-mv" "Wilks"}; multivariate{end+1} = c;

% --- a volume ---------------------------------------------------------------------------------------------------
% PALM reads NIfTI without compiled code under -noniiclass; this writes just what it needs.
function write_nifti(name, x)
  f = fopen(name, "w", "ieee-le");
  fwrite(f, 348, "int32");
  fwrite(f, zeros(1, 36), "uint8");
  fwrite(f, [ndims(x) size(x) ones(1, 7 - ndims(x))], "int16");
  fwrite(f, zeros(1, 14), "uint8");
  fwrite(f, [64 64 0], "int16");
  fwrite(f, [ones(1, 8) 352 1 0], "float32");
  fwrite(f, zeros(1, 224), "uint8");
  fwrite(f, ["n+1" zeros(1, 5)], "uint8");
  fwrite(f, x, "float64");
  fclose(f);
end

% Eight smooth maps with one bump above and one below zero.
function [data, mask] = volumes()
  randn("twister", 41);
  rand("twister", 41);
  shape = [7 8 9];
  noise = randn([shape + 2, 8]);
  data = zeros([shape 8]);
  for i = 1:8 data(:, :, :, i) = 4 * convn(noise(:, :, :, i), ones(3, 3, 3) / 27, "valid"); end
  [x, y, z] = ndgrid(1:7, 1:8, 1:9);
  bump = @(a, b, c) exp(-((x - a) .^ 2 + (y - b) .^ 2 + (z - c) .^ 2) / 4);
  data = rounded(data + 1.2 * bump(3, 3, 4) - 1.3 * bump(5, 6, 7), 2);
  mask = rand(shape) > 0.08;
end

% Positive and negative contrast of the mean, family-wise p of each and over both.
function out = enhanced(options)
  global kept plm opts
  kept = containers.Map();
  arguments = [{"-i" "y.nii" "-m" "m.nii" "-d" "d.csv" "-t" "t.csv" "-ise" "-n" "0" "-quiet" "-noniiclass" ...
                "-corrcon" "-o" "out"} options];
  evalc("palm_core(arguments{:});");
  stem = "(tfce_.*|clusterm_.*|clustere_.*)";
  out = struct("p_fwe", saved([stem "_fwep_c1"]), "p_fwe_both", [saved([stem "_cfwep_c1"]); saved([stem "_cfwep_c2"])]);
  assert(plm.nP{1}(1) == 256);
end

function out = both_contrasts(name)
  global plm
  out = [plm.(name){1}{1}{1}; plm.(name){1}{1}{2}];
end

function out = volume_results(height)
  out = struct();
  for run = {{"tfce_6" "6" "0.01"} {"tfce_26" "26" "0.01"} {"tfce_26_auto" "26" "auto"}}
    [name, connectivity, step] = run{1}{:};
    found = enhanced({"-T" "-tfce_H" "2" "-tfce_E" "0.5" "-tfce_C" connectivity "-tfce_dh" step});
    found.score = both_contrasts("Gtfce");
    found.z = both_contrasts("G")(1, :);
    out.(name) = found;
  end
  for kind = {"extent" "mass"}
    found = enhanced({"-C" height "-Cstat" kind{1}});
    found.score = both_contrasts("Gclu");
    out.(["cluster_" kind{1}]) = found;
  end
end

function show_volume(file)
  [data, mask] = volumes();
  write_nifti("y.nii", data);
  write_nifti("m.nii", double(mask));
  dlmwrite("d.csv", ones(8, 1));
  dlmwrite("t.csv", [1; -1]);
  flat = reshape(data, [], 8)(mask(:), :)';
  fprintf(file, "\"volume\": {\"shape\": [7, 8, 9],\n \"mask\": %s,\n \"data\": %s,\n \"threshold\": 2.3,\n", ...
          decimals(mask), table(flat, @decimals));
  found = volume_results("2.3");
  fprintf(file, " \"z\": %s", numbers(found.tfce_6.z));
  for name = fieldnames(found)'
    one = found.(name{1});
    fprintf(file, ",\n \"%s\": {\"score\": %s,\n  \"p_fwe\": %s,\n  \"p_fwe_both\": %s}", name{1}, ...
            table(one.score, @(row) ["[" strjoin(arrayfun(@(v) sprintf("%.9g", v), row, "UniformOutput", false), ", ") "]"]), ...
            decimals(one.p_fwe), table(one.p_fwe_both, @decimals));
  end
  fprintf(file, "}\n");
end

notes = {
  "p is the share of rearrangements, the identity counted once, whose z is at least the observed one."
  "Every statistic, observed and rearranged, goes to z by its own degrees of freedom before counting and before the maximum, without -zstat too; with -twotail its absolute value counts. F and G go to z by their upper tail."
  "PALM compares without tolerance, so mirrored rearrangements can be lost to rounding: p_ties and p_fwe_ties count again with a tolerance of 1e-9."
  "df of v is a third of Welch's (1 / (3 h) instead of 1 / h, h = sum over groups of (1 - W_g / W)^2 / residual df of g). df, z, p and p_fwe are PALM's as it is; those ending in _welch come from a copy with 1 / h. v itself and G are not touched by this."
  "Beside a covariate v has the least-squares estimate over a standard error from weighted least squares (Winkler 2014, 10.1016/j.neuroimage.2014.01.060)."
  "Regression: Freedman-Lane on Ridgway's partition; the set of rearrangements from Guttman's: rows with equal tested columns count as equal, also when covariates differ, and one order stands for each arrangement of labels. -cmcx: all orders of rows. order and signs are the set that was used: row i takes the residual of row order[i], counted from 0, or is multiplied by signs[i]."
  "baseline is a further last column of the design, another one for each feature (-evperdat). Nothing is mean-centred by PALM (no -demean). strata are exchangeability blocks, -within."
  "Multivariate: data are two orthonormal contrasts of three levels; statistics are Hotelling's T squared and Wilks' lambda (small is extreme); counted on the statistic, not on z."
  "volume: data are rows by voxels of the mask in Fortran order; one-sample t to z, all 256 flips. score: of the positive, then of the negative contrast; p_fwe: of the positive alone; p_fwe_both: over the maxima of both (-corrcon), 1 where the score is 0. TFCE sums extent^0.5 h^2 dh at h = dh, 2 dh ... with extents of z >= h; auto: dh is a hundredth of the maximum of each map, rearranged ones too. Clusters: 26 neighbours, z >= threshold; mass is the sum of z and not of what exceeds the threshold."
  "With -twotail PALM would enhance |z| as one map, so that positive and negative voxels can form one cluster; that is why both contrasts are used."
}';

% --- all of it --------------------------------------------------------------------------------------------------
target = make_absolute_filename(argv(){2});
folder = make_absolute_filename(argv(){1});
here = tempname();
mkdir(here);
cd(here);
file = fopen(target, "w");
fprintf(file, "{\"program\": \"PALM 04095fe, Octave %s\",\n\"notes\": [%s],\n\"cases\": [\n", version(), ...
        strjoin(cellfun(@(s) ["\"" s "\""], notes, "UniformOutput", false), ",\n "));
for i = 1:numel(cases)
  c = cases{i};
  fprintf("%s\n", c.name);
  found = solved(c, folder);
  c.data = c.data{1};
  c = rmfield(c, {"complete" "keep_set"});
  for n = fieldnames(found)' c.(n{1}) = found.(n{1}); end
  show(file, c, {"," ""}{(i == numel(cases)) + 1});
end
fprintf(file, "],\n\"multivariate\": [\n");
for i = 1:numel(multivariate)
  c = multivariate{i};
  fprintf("%s\n", c.name);
  found = solved_multivariate(c);
  c = rmfield(c, {"complete" "keep_set"});
  for n = fieldnames(found)' c.(n{1}) = found.(n{1}); end
  show(file, c, {"," ""}{(i == numel(multivariate)) + 1});
end
fprintf(file, "],\n");
printf("volume\n");
show_volume(file);
fprintf(file, "}\n");
fclose(file);
