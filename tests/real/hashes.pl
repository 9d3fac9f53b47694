# Hashes, regular expressions, sorting and threads; compares what it finds with what it knows. Prints "ok N".
use strict;
use warnings;
use Config;

my $count = shift;
my %tree;
for my $i (1 .. $count) {
    my $key = sprintf("%x", $i * 2654435761 % 4294967296);
    push @{$tree{substr($key, 0, 2)}{$key}}, $i, "text $i" x ($i % 5);
}
my ($sum, $keys) = (0, 0);
for my $branch (values %tree) {
    for my $list (values %$branch) { $sum += $list->[0]; $keys++; }
}
die "sum $sum of $keys" unless $sum == $count * ($count + 1) / 2 && $keys == $count;

my $text = join ",", map { "name$_=" . "v" x ($_ % 30) } 1 .. $count;
my $matched = 0;
while ($text =~ /name(\d+)=(v*)(?:,|\z)/g) { $matched += length($2) == $1 % 30 }
die "matched $matched" unless $matched == $count;
(my $changed = $text) =~ s/(\d+)=v+/<$1>/g;
die "changed" unless () = $changed =~ /<\d+>/g;

my @sorted = sort { $a->[1] cmp $b->[1] or $a->[0] <=> $b->[0] } map { [$_, scalar reverse $_] } 1 .. $count;
for my $i (1 .. $#sorted) { die "order at $i" if $sorted[$i - 1][1] gt $sorted[$i][1] }
delete $tree{$_} for grep { /[02468ace]$/ } keys %tree;

if ($Config{useithreads}) {
    require threads;
    my @threads = map { my $n = $_; threads->create(sub {
        my %own = map { ("$n-$_" => [1 .. $_ % 10]) } 1 .. $count / 10;
        my $total = 0;
        $total += @{$own{$_}} for keys %own;
        return $total;
    }) } 1 .. 4;
    my %totals = map { ($_->join => 1) } @threads;
    die "threads differ: @{[keys %totals]}" unless keys %totals == 1;
}
print "ok $count\n";
